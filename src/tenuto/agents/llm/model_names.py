"""Names of models, `provider:model`: what to tell about one that nobody knows.

Which models a provider has is for the provider to say; the library's list has the newest only. So a name is refused
here for its provider, and the list is for suggestions.
"""

from __future__ import annotations

from difflib import get_close_matches

from pydantic_ai.models import known_model_names
from pydantic_ai.providers import infer_provider_class

from tenuto.errors import InvalidInput

__all__ = ["check_model_name"]

_OURS = ("openai", "anthropic", "xai", "openai-chat", "openai-responses", "cli")
"""What our own documentation names, the first to be suggested."""

_WITHOUT_PROVIDER = "test"
"""The one model of the library that has a name and no provider."""

_WHERE = "(pydantic_ai.models.known_model_names() lists the usual names)"


def check_model_name(model: str, *, base_url: str | None = None) -> None:
    """Raises `InvalidInput`, with a suggestion, for a name without a model, or without a provider that is known."""
    provider, colon, name = model.partition(":")
    if not colon and model != _WITHOUT_PROVIDER:
        meant = _suggested(_alone(model)) or ": write provider:model"
        raise InvalidInput(f"the model {model!r} is named without its provider{meant} {_WHERE}")
    if colon and not _is_known(provider):
        own = f"; a server that speaks as OpenAI does is 'openai-chat:{name}' with base_url" if base_url else ""
        raise InvalidInput(
            f"the model {model!r} is of a provider that nobody knows, {provider!r}{_suggested(_close(provider, name))}"
            f"{own} {_WHERE}"
        )
    if colon and not name:
        raise InvalidInput(f"the model {model!r} is a provider without a model: write {provider}:model {_WHERE}")


def _is_known(provider: str) -> bool:
    if provider in _OURS:
        return True
    try:
        infer_provider_class(provider)
    except ValueError:
        return False
    except ImportError:  # its SDK is not installed, which is told where the model is made
        return True
    return True


def _suggested(name: str | None) -> str:
    return f": did you mean {name!r}?" if name else ""


def _providers() -> list[str]:
    """Those that may be meant, the likeliest first: who makes models before who passes on what others make."""
    theirs = {name.partition(":")[0] for name in known_model_names() if ":" in name}
    return list(dict.fromkeys((*_OURS, *sorted(theirs, key=lambda name: ("/" in name, len(name), name)))))


def _close(provider: str, name: str) -> str | None:
    """The model of the provider that is written nearly like that."""
    close = get_close_matches(provider.lower(), _providers(), n=1)
    return f"{close[0]}:{name}" if close and name else None


def _alone(model: str) -> str | None:
    """The model of the provider that it begins with, or that has one of this family, such as gpt or claude."""
    provider, _, name = model.partition("/")
    if name and provider.lower() in _providers():
        return f"{provider.lower()}:{name}"
    family = model.partition("-")[0].lower()
    if family in _providers():
        return f"{family}:{model}"
    for provider in _providers():
        if any(known.startswith(f"{provider}:{family}-") for known in known_model_names()):
            return f"{provider}:{model}"
    return None
