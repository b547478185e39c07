"""What an agent is given, checked where it is typed: a mistake is told before a worker meets it. And what of it the
library's own agent is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from inspect import signature
from typing import Any

from pydantic_ai import TemplateStr, Tool
from pydantic_ai.capabilities import AbstractCapability, Hooks
from pydantic_ai.messages import InstructionPart
from pydantic_ai.models import Model
from pydantic_ai.toolsets import AbstractToolset

from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.prices import check_price
from tenuto.agents.llm.tool_results import ToolResultLimit
from tenuto.agents.llm.tools import made_tool, options_of
from tenuto.errors import InvalidInput

__all__ = ["GIVEN", "SAID_ALREADY", "check_names", "check_options", "recipe_of"]

SAID_ALREADY = frozenset(
    {
        "instructions",
        "model",
        "tools",
        "output_type",
        "hooks",
        "toolsets",
        "capabilities",
        "model_settings",
        "retries",
        "tool_result_limit",
        "base_url",
    }
)
"""What an agent of Pydantic AI says itself."""

_Check = Callable[[Any], bool]


def check_names(kind: type, given: Iterable[str], known: Iterable[str]) -> None:
    """Raises `InvalidInput` for options that a `kind` does not have. known: those that it has beside its parameters."""
    has = {*signature(kind).parameters, *known} - {"options"}
    for name in given:
        if name not in has:
            close = get_close_matches(name, has, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has {', '.join(sorted(has))}"
            raise InvalidInput(f"{kind.__name__} has no option {name!r}: {hint}")


def check_options(agent: str, options: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` that names the first of `options` which no agent can be made with."""
    for name, value in options.items():
        fits, wanted = _WANTED[name]
        if not fits(value):
            hint = f": write [{_name(value)}]" if name == "tools" and _is_tool(value) else ""
            raise InvalidInput(f"{name} of agent {agent!r} must be {wanted}, not {value!r:.80}{hint}")
    for name in ("price", "fallback_price"):
        check_price(options[name], f"the {name} of agent {agent!r}")


def recipe_of(agent: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `pydantic_ai.Agent` for `options`, which have been checked."""
    tools = tuple(map(made_tool, options["tools"]))
    limit, hooks = options["tool_result_limit"], options["hooks"]
    capabilities = list(options["capabilities"])
    if limit is not None or any(options_of(each.metadata, each.name).result_limit for each in tools):
        capabilities.append(ToolResultLimit(limit))
    if hooks is not None:
        capabilities.append(hooks)
    as_given = {name: options[name] for name in ("model", "instructions", "output_type", "model_settings", "retries")}
    made = {"tools": tools, "toolsets": tuple(options["toolsets"]), "capabilities": tuple(capabilities)}
    return {"name": agent} | as_given | made


def _or_none(fits: _Check) -> _Check:
    return lambda value: value is None or fits(value)


def _all(fits: _Check) -> _Check:
    return lambda value: isinstance(value, Sequence) and not isinstance(value, str) and all(map(fits, value))


def _is_model(value: Any) -> bool:
    return isinstance(value, Model | str) or callable(value)


def _is_tool(value: Any) -> bool:
    return isinstance(value, Tool) or callable(value)


def _is_instructions(value: Any) -> bool:
    return isinstance(value, str | TemplateStr | InstructionPart) or callable(value)


def _is_context(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, AgentContext)


def _is_address(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _is_number(least: int) -> _Check:
    return lambda value: type(value) is int and value >= least


def _anything(_: Any) -> bool:
    return True


def _name(value: Any) -> str:
    return str(getattr(value, "name", None) or getattr(value, "__name__", "it"))


_A_MODEL = "the name of a model, a Model, or a function that makes one"
_WANTED: Mapping[str, tuple[_Check, str]] = {
    "instructions": (
        lambda value: value is None or _is_instructions(value) or _all(_is_instructions)(value),
        "a text, a function that makes it, or a list of those",
    ),
    "model": (_or_none(_is_model), _A_MODEL),
    "tools": (_all(_is_tool), "a list of functions and tools"),
    "output_type": (lambda value: value is not None, "a type, several, or functions: for no value type(None)"),
    "max_turns": (_is_number(1), "a whole number from 1"),
    "hooks": (_or_none(lambda value: isinstance(value, Hooks)), "of type pydantic_ai.capabilities.Hooks"),
    "context_type": (_is_context, "a subclass of AgentContext"),
    "toolsets": (
        _all(lambda value: isinstance(value, AbstractToolset) or callable(value)),
        "a list of toolsets, or of functions that make one",
    ),
    "capabilities": (
        _all(lambda value: isinstance(value, AbstractCapability) or callable(value)),
        "a list of capabilities, or of functions that make one",
    ),
    "model_settings": (
        _or_none(lambda value: isinstance(value, Mapping) or callable(value)),
        "settings such as {'max_tokens': 500}",
    ),
    "deps": (_or_none(callable), "a function of a task's context and payload"),
    "retries": (_or_none(_is_number(0)), "a whole number from 0"),
    "tool_result_limit": (_anything, ""),
    "price": (_anything, ""),
    "fallback": (_or_none(_is_model), _A_MODEL),
    "fallback_price": (_anything, ""),
    "limit_key": (_or_none(lambda value: isinstance(value, str) and bool(value)), "the name of a limit"),
    "stream": (lambda value: type(value) is bool, "True or False"),
    "base_url": (_or_none(_is_address), "an address that begins with http:// or https://"),
}
"""What fits, and how it is called. What a price must be says `check_price`; a limit of results, `ToolResultLimit`."""

GIVEN = frozenset(_WANTED)
"""The names of an agent's options, but for those that all task agents have."""
