"""Models by name: `openai:gpt-5`, `anthropic:claude-haiku-4-5`, `openai-chat:llama3` at an address of your own,
`cli:claude` for a program on this machine.

The provider's own SDK does no retries here: a request that failed is the task's to repeat, when the provider allows it,
without holding a slot meanwhile, and known to everybody who uses the same key. (A model that you build yourself keeps
its client as you made it; set `max_retries=0` on that.)

Keys come from the arguments, then from the environment, as each provider names them (`OPENAI_API_KEY`, …).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers import Provider, infer_provider, infer_provider_class
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.agents.llm.command_model import PREFIX, CommandModel, command_of
from tenuto.agents.llm.model_names import check_model_name
from tenuto.errors import InvalidInput

__all__ = ["ModelLike", "build_model", "check_model"]

ModelLike = Model | str | Callable[[], Model]
"""A model, its name, or a function that makes it."""

XAI_URL = "https://api.x.ai/v1"

_FAMILIES = {"openai-chat": "openai", "openai-responses": "openai"}
_ADDRESSES = {"openai": "OPENAI_BASE_URL", "anthropic": "ANTHROPIC_BASE_URL"}
_KEYS = {"openai": "OPENAI_API_KEY", "anthropic": "ANTHROPIC_API_KEY", "xai": "XAI_API_KEY"}
"""The providers whose keys an orchestrator takes, and the environment variables that hold them otherwise."""


def check_model(model: ModelLike, *, base_url: str | None = None, keys: Mapping[str, str] | None = None) -> None:
    """Raises `InvalidInput` where `build_model` would, as far as that is known without calling the user's code, and,
    for the usual providers, without loading their SDKs."""
    if not isinstance(model, str):
        return
    if _family(model) in _KEYS:
        check_model_name(model)
        _check_key(model, base_url, keys or {})
        _check_address(model, base_url)
    else:
        build_model(model, base_url=base_url, keys=keys)


def build_model(model: ModelLike, *, base_url: str | None = None, keys: Mapping[str, str] | None = None) -> Model:
    """The model itself.

    base_url: of an endpoint that speaks as the named provider does. keys: API keys by provider, before those of the
    environment. Raises `InvalidInput` for a name that nobody knows, a key or a program that is missing, an address or a
    key that can be none, and a function that makes no model.
    """
    if isinstance(model, Model):
        return model
    if callable(model):
        made = model()
        if not isinstance(made, Model):
            raise InvalidInput(f"the function that makes the model has made {made!r:.80}, which is none")
        return made
    if model.startswith(PREFIX):
        return _program(model)
    check_model_name(model, base_url=base_url)
    known = keys or {}
    _check_key(model, base_url, known)
    _check_address(model, base_url)

    def provider(name: str) -> Provider[Any]:
        key = known.get(_family(name))
        given = {field: value for field, value in (("base_url", base_url), ("api_key", key)) if value is not None}
        return infer_provider_class(name)(**given) if given else infer_provider(name)

    try:
        built = _grok(model, base_url, known) or infer_model(model, provider)
    except OSError as error:
        place = os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR") or "this machine"
        raise InvalidInput(f"the certificates of {place} cannot be read, so no model can be asked: {error}") from None
    except Exception as error:  # noqa: BLE001 - providers, their SDKs and HTTP clients each have errors of their own
        raise InvalidInput(f"the model {model!r} cannot be used: {_said(error)}") from None
    client: Any = getattr(built, "client", None)
    if hasattr(client, "max_retries"):
        client.max_retries = 0
    return built


def _family(model: str) -> str:
    """Whose key a model by this name uses."""
    provider = model.partition(":")[0]
    return _FAMILIES.get(provider, provider)


def _check_key(model: str, base_url: str | None, keys: Mapping[str, str]) -> None:
    family = _family(model)
    variable = _KEYS.get(family)
    if variable is None:
        return
    if key := keys.get(family) or os.environ.get(variable):
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise InvalidInput(
                f"the key for the model {model!r} has a space, a line break or another character that no key has: "
                f"look at {variable}, or at {family}_api_key of the orchestrator"
            )
        return
    if family == "openai" and (base_url or os.environ.get("OPENAI_BASE_URL")):
        return  # a server of one's own may need none
    raise InvalidInput(
        f"the model {model!r} needs a key: set the environment variable {variable}, or give the orchestrator "
        f"{family}_api_key"
    )


def _check_address(model: str, base_url: str | None) -> None:
    variable = _ADDRESSES.get(_family(model), "")
    url = base_url or os.environ.get(variable)
    if not url:
        return
    try:
        parts = urlsplit(url)
        fits = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        fits = False
    if not fits:
        where = "base_url" if base_url else variable
        raise InvalidInput(
            f"the address of the model {model!r} makes no sense: {where} is {url.rpartition('@')[2]!r}, and must begin "
            "with http:// or https:// and a host"
        )


def _program(model: str) -> CommandModel:
    command = command_of(model)
    if shutil.which(command[0]) is None:
        raise InvalidInput(f"the program {command[0]!r} of the model {model!r} is not there: install it, or set PATH")
    return CommandModel(command)


def _said(error: Exception) -> str:
    """What the library says, without its advice for first steps in it."""
    return str(error).partition(" To try Pydantic AI without")[0]


def _grok(model: str, base_url: str | None, keys: Mapping[str, str]) -> Model | None:
    """A model of xAI through its OpenAI-compatible address, where xAI's own SDK is not installed."""
    if _family(model) != "xai" or find_spec("xai_sdk") is not None:
        return None
    name, key = model.partition(":")[2], keys.get("xai") or os.environ.get(_KEYS["xai"])
    return OpenAIChatModel(name, provider=_XAI(base_url=base_url or XAI_URL, api_key=key))


class _XAI(OpenAIProvider):
    """xAI by its own name: its rates and its "too many requests" are not those of OpenAI's key."""

    @property
    def name(self) -> str:
        return "xai"
