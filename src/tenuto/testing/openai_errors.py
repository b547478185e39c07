"""Errors as OpenAI words them, for both of its formats (platform.openai.com/docs/guides/error-codes)."""

from __future__ import annotations

from typing import Any

from tenuto.testing.wire import Refused

__all__ = ["openai_error"]

_KNOWN = {
    400: (
        "invalid_request_error",
        "context_length_exceeded",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "permission_denied", "You are not allowed to use this model."),
    404: ("invalid_request_error", "model_not_found", "The model does not exist or you do not have access to it."),
    413: ("invalid_request_error", "request_too_large", "The request is too large."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."),
    503: ("server_error", "server_overloaded", "The engine is currently overloaded, please try again later."),
}
_UNKNOWN = ("server_error", "server_error", "The server had an error while processing your request.")


def openai_error(refused: Refused) -> dict[str, Any]:
    """The body of the error. What `refused` does not say is what OpenAI says for its status."""
    kind, code, message = _KNOWN.get(refused.status, _UNKNOWN)
    if refused.code == "insufficient_quota":
        kind = "insufficient_quota"
    given = refused.code or (None if refused.message and refused.status == 400 else code)
    return {
        "error": {"message": refused.message or message, "type": kind, "param": refused.param, "code": given},
    }
