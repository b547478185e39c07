"""Asking the model: a call is announced in the journal, made, and recorded with what it said.

    announce  the entry of the turn, as STARTED: whoever takes over after a crash knows that a call was under way
    call      the library's own model class, through the provider's SDK
    record    the messages that were added, the response, the usage, and the steering that went into the request,
              in one commit

A response that was recorded is never asked for again. One that was lost between its receipt and its record is: the
journal shows how often that happened (`unknown` in the event of the turn).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pydantic_ai.durable_exec import record_durable_unit
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelHTTPError,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelMessage

from tenuto.errors import ModelError
from tenuto.tasks.outcome import Step, StepState
from tenuto.workers.scopes import NOTE, Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["ask_model"]

_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be another one soon."""
_LONGEST_DELAY = 3600.0
"""Seconds: no provider keeps a task away for longer."""


async def ask_model(
    attempt: Attempt, key: str, messages: list[ModelMessage], body: Callable[[], Awaitable[object]]
) -> object:
    """The recorded form of the response to `messages`. Asks the model when the journal has none under `key`.

    Raises `ModelError`.
    """
    journal, conversation = attempt.journal, attempt.conversation
    recorded = journal.note(key)
    first = key.endswith("#0")
    if recorded is not None and recorded.state is StepState.DONE:
        response = (await journal.value(recorded))["response"]
        if first:
            conversation.add(messages, response)
        record_durable_unit(executed=False)
        return response
    scope = attempt.scope
    await journal.commit(scope, (Step(key, NOTE, StepState.STARTED),))
    response = await _asked(attempt, body)
    entry = conversation.entry(messages, response) if first else {"response": response}
    consumed = attempt.take_steering()
    told = _summary(conversation.turn, response, unknown=recorded is not None)
    await journal.settle(Place(scope, "model", key, NOTE), entry, consumed=consumed, events=(("turn", told),))
    if first:
        conversation.add(messages, response)
    record_durable_unit(executed=True)
    return response


def _summary(turn: int, response: Any, *, unknown: bool) -> dict[str, Any]:
    """What people who follow the task are told of a turn."""
    told = {"turn": turn, "model": response.get("model_name"), "usage": response.get("usage") or {}}
    calls = [part["tool_name"] for part in response["parts"] if part.get("part_kind") == "tool-call"]
    return told | ({"tools": calls} if calls else {}) | ({"unknown": True} if unknown else {})


async def _asked(attempt: Attempt, body: Callable[[], Awaitable[object]]) -> object:
    try:
        return await body()
    except ModelHTTPError as error:
        passing = error.status_code >= 500 or error.status_code in _PASSING
        raise ModelError(
            f"{_who(attempt)}: the model {error.model_name!r} answered with HTTP {error.status_code}: {_said(error)}",
            status=error.status_code,
            retryable=passing,
            retry_after=_delay(error) if passing else None,
        ) from error
    except ContentFilterError as error:
        raise ModelError(f"{_who(attempt)}: the provider's content filter refused: {error}", retryable=False) from error
    except (ModelAPIError, UnexpectedModelBehavior) as error:
        raise ModelError(f"{_who(attempt)}: the model did not answer usably: {str(error)[:500]}") from error
    except UserError as error:
        raise ModelError(f"{_who(attempt)}: {error}", retryable=False) from error


def _who(attempt: Attempt) -> str:
    return f"agent {attempt.context.lease.agent!r}, turn {attempt.conversation.turn}"


def _said(error: ModelHTTPError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(body)[:500] if body else "no reason given"


def _delay(error: ModelHTTPError) -> float | None:
    """Seconds that the provider asks to be left alone (RFC 9110, Retry-After; `retry-after-ms` where it is finer)."""
    headers = error.headers or {}
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            return min(max(float(headers[name]) / scale, 0.0), _LONGEST_DELAY)
        except (KeyError, ValueError):
            continue
    return None
