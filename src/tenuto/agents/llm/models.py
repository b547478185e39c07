"""Models by name: `openai:gpt-5`, `anthropic:claude-haiku-4-5`, `openai-chat:llama3` at an address of your own,
`cli:claude` for a program on this machine.

The provider's own SDK does no retries here: a request that failed is the task's to repeat, when the provider allows it,
without holding a slot meanwhile, and known to everybody who uses the same key. (A model that you build yourself keeps
its client as you made it; set `max_retries=0` on that.)

Keys come from the arguments, then from the environment, as each provider names them (`OPENAI_API_KEY`, …).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.agents.llm.command_model import PREFIX, CommandModel, command_of
from tenuto.errors import InvalidInput

__all__ = ["ModelLike", "build_model", "modules_of"]

ModelLike = Model | str | Callable[[], Model]
"""A model, its name, or a function that makes it."""

XAI_URL = "https://api.x.ai/v1"

_FAMILIES = {"openai-chat": "openai", "openai-responses": "openai"}


def build_model(model: ModelLike, *, base_url: str | None = None, keys: Mapping[str, str] | None = None) -> Model:
    """The model itself.

    base_url: of an endpoint that speaks as the named provider does. keys: API keys by provider, before those of the
    environment. Raises `InvalidInput` for a name that nobody knows and a key that is missing.
    """
    if isinstance(model, Model):
        return model
    if callable(model):
        return model()
    if model.startswith(PREFIX):
        return CommandModel(command_of(model))
    known = keys or {}

    def provider(name: str) -> Provider[Any]:
        key = known.get(_FAMILIES.get(name, name))
        given = {field: value for field, value in (("base_url", base_url), ("api_key", key)) if value is not None}
        return infer_provider_class(name)(**given) if given else infer_provider(name)

    try:
        built = _grok(model, base_url, known) or infer_model(model, provider)
    except (UserError, ValueError, ImportError, TypeError) as error:
        raise InvalidInput(f"the model {model!r} cannot be used: {error}") from None
    client: Any = getattr(built, "client", None)
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    return built


def modules_of(model: ModelLike | None) -> tuple[str, ...]:
    """What is imported for a model by name, as far as that is slow."""
    family = model.partition(":")[0] if isinstance(model, str) else ""
    if family.startswith("openai"):
        return ("pydantic_ai.models.openai",)
    return ("pydantic_ai.models.anthropic",) if family == "anthropic" else ()


def _grok(model: str, base_url: str | None, keys: Mapping[str, str]) -> Model | None:
    """A model of xAI through its OpenAI-compatible address, where xAI's own SDK is not installed."""
    family, _, name = model.partition(":")
    if family != "xai" or find_spec("xai_sdk") is not None:
        return None
    key = keys.get("xai") or os.environ.get("XAI_API_KEY")
    if not key:
        raise UserError("set the environment variable XAI_API_KEY, or give xai_api_key")
    return OpenAIChatModel(name, provider=OpenAIProvider(base_url=base_url or XAI_URL, api_key=key))
