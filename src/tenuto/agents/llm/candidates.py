"""The models that an agent goes on with where one does not answer, or not usably: those of its `ModelFallback`.

    Agent("analyst", "…", "openai:gpt-5", capabilities=[ModelFallback("anthropic:claude-sonnet-4-5")])

Each request of the chain is one of its own: an entry of the journal, a reservation, a settlement. Where a task goes on,
each candidate has to be known by a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pydantic_ai.capabilities import AbstractCapability, ModelFallback
from pydantic_ai.models import Model

__all__ = ["candidates", "named"]


def candidates(capabilities: Iterable[object]) -> list[Model | str]:
    """The models of every `ModelFallback` among `capabilities`, in order."""
    found: list[Model | str] = []

    def visit(capability: AbstractCapability[object]) -> None:
        if isinstance(capability, ModelFallback):
            found.extend(capability.models)

    for capability in capabilities:
        if isinstance(capability, AbstractCapability):
            capability.apply(visit)
    return found


def named(models: Iterable[Model | str], build: Callable[[str], Model]) -> Mapping[str, Model]:
    """By what the library asks for them: the name where one was given, made by `build`; else a number."""
    known = [(model, build(model)) if isinstance(model, str) else ("", model) for model in models]
    return {name or f"candidate-{number}": model for number, (name, model) in enumerate(known)}
