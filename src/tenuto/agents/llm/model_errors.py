"""What a provider's refusals and failures mean: whether they cost something, and pass, and what to tell about them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import Any

from pydantic_ai.exceptions import (
    ContentFilterError,
    FallbackExceptionGroup,
    ModelAPIError,
    ModelConnectionError,
    ModelHTTPError,
    SuspendedResponseExpired,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.models import Model

from tenuto.errors import ModelError, TenutoError
from tenuto.workers.failures import conceal

__all__ = [
    "SHORT_PAUSE",
    "came_to_nothing",
    "delay_of",
    "explained",
    "is_failure",
    "is_free",
    "together",
    "was_reached",
]

_FAILURES = (ModelAPIError, UnexpectedModelBehavior, UserError, FallbackExceptionGroup, SuspendedResponseExpired)
"""What the library raises where a provider has not given what it was asked for."""

_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be another one soon."""
_TURNED_AWAY = frozenset({503, 529})
"""Statuses from 500 that say that nobody has begun to work on the request: unavailable, overloaded (Anthropic)."""
SHORT_PAUSE = 1.0
"""Seconds that a provider's key is left alone after "too many requests" which does not say how long."""
_LONGEST_DELAY = 3600.0
"""Seconds: no provider keeps a task away for longer."""
_LONGEST_TEXT = 500
"""Characters of what a provider said that an error repeats."""


def is_failure(error: Exception, model: Model) -> bool:
    """Whether `error` is the provider's, or about what it has said. Some answers that are no answers at all make the
    provider's SDK, or the library, stumble; what a model without an SDK raises is its own."""
    return isinstance(error, _FAILURES) or (bool(_clients(model)) and not isinstance(error, TenutoError))


def is_free(error: Exception) -> bool:
    """Whether the provider has certainly done nothing that it is paid for: it was not reached, or it refused."""
    if _sent_elsewhere(error) is not None:
        return True
    match error:
        case ModelHTTPError():
            return not error.in_stream and (error.status_code < 500 or error.status_code in _TURNED_AWAY)
    return not was_reached(error)


def was_reached(error: Exception) -> bool:
    """Whether the provider may have received the request."""
    return not (isinstance(error, ModelConnectionError) and error.phase in ("pool", "connect"))


def came_to_nothing(error: Exception) -> bool:
    """Whether a response that a provider was making is lost: it has failed, or is not kept any more. (Not where only
    the question for it has failed: then a request over HTTP is the cause of the error.)"""
    if isinstance(error, ModelHTTPError):
        return error.__cause__ is None and not error.in_stream
    if isinstance(error, ModelConnectionError) or _sent_elsewhere(error) is not None:
        return False
    return isinstance(error, ModelAPIError | SuspendedResponseExpired)


def explained(who: str, error: Exception, model: Model) -> ModelError:
    """What to tell about `error` of `model`, and whether it may pass by itself. Its keys are told nowhere."""
    for client in _clients(model):
        conceal(getattr(client, "api_key", None))
    return _explained(who, error)


def _explained(who: str, error: Exception) -> ModelError:
    if (place := _sent_elsewhere(error)) is not None:
        return ModelError(
            f"{who}: the address of the model {getattr(error, 'model_name', '')!r} sends requests on to {place}, and "
            "keys are not sent there: give that as its base URL where it is meant",
            retryable=False,
        )
    match error:
        case ModelHTTPError(status_code=status):
            passing = status >= 500 or status in _PASSING
            return ModelError(
                f"{who}: the model {error.model_name!r} answered with HTTP {status}: {_said(error)}{_advice(error)}",
                status=status,
                retryable=passing,
                retry_after=delay_of(error) if passing else None,
            )
        case ContentFilterError():
            return ModelError(f"{who}: the provider's content filter refused: {error}", retryable=False)
        case UserError():
            return ModelError(f"{who}: {error}", retryable=False)
        case FallbackExceptionGroup():
            return together(who, error)
        case ModelConnectionError():
            causes = list(_causes(error))
            return ModelError(
                f"{who}: the model {error.model_name!r}{_address(causes)} "
                f"{'cannot be reached' if is_free(error) else 'broke off, or did not answer'}: {_reason(causes)}",
                retryable=not _is_about_a_certificate(causes[-1]),
            )
    said = str(error) if isinstance(error, _FAILURES) else f"{type(error).__name__}: {error}"
    return ModelError(f"{who}: the model did not answer usably: {said[:_LONGEST_TEXT]}")


def together(who: str, errors: FallbackExceptionGroup) -> ModelError:
    """What to tell where each of several models has failed: it passes as soon as one of the failures does."""
    each = [_explained(who, one) for one in errors.exceptions if isinstance(one, Exception)]
    passing = [one for one in each if one.retryable]
    delays = [one.retry_after or 0.0 for one in passing]
    said = "; ".join(map(str, each))[:_LONGEST_TEXT]
    return ModelError(said, retryable=bool(passing), retry_after=min(delays, default=0.0) or None)


def delay_of(error: ModelHTTPError) -> float | None:
    """Seconds that the provider asks to be left alone (RFC 9110, Retry-After)."""
    return None if error.retry_after is None else min(error.retry_after, _LONGEST_DELAY)


def _clients(model: Any) -> list[Any]:
    """The clients of the SDKs through which `model` asks, itself or as one of several."""
    several = getattr(model, "models", None) or [getattr(model, "wrapped", None)]
    inner = [client for each in several if isinstance(each, Model) for client in _clients(each)]
    client = getattr(model, "client", None)
    return inner if client is None else [client, *inner]


def _sent_elsewhere(error: Exception) -> str | None:
    """Where a redirection leads (RFC 9110, 15.4). None is followed: who answers there might learn the key."""
    response = getattr(error.__cause__, "response", None)
    if not isinstance(error, ModelAPIError) or not 300 <= getattr(response, "status_code", 0) < 400:
        return None
    place = str(getattr(response, "headers", {}).get("location", "nowhere"))
    scheme, mark, rest = place.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}".partition("?")[0][:_LONGEST_TEXT]


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__


def _is_about_a_certificate(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _address(causes: list[BaseException]) -> str:
    """Where a request went, without names and passwords."""
    urls = (getattr(getattr(each, "_request", None) or getattr(each, "request", None), "url", None) for each in causes)
    url = next((url for url in urls if url is not None), None)
    return "" if url is None else f" at {url.scheme}://{url.netloc.decode()}"


def _reason(causes: list[BaseException]) -> str:
    """What the last of `causes` that says something says."""
    texts = [str(each) for each in causes if str(each)]
    return texts[-1][:_LONGEST_TEXT] if texts else "no reason given"


def _advice(error: ModelHTTPError) -> str:
    """What the library has to add about a model that the provider does not know."""
    return f" (did you mean {error.suggested_model_id!r}?)" if error.suggested_model_id else ""


def _said(error: ModelHTTPError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(body)[:_LONGEST_TEXT] if body else "no reason given"
