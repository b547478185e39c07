"""Asking the model: a call is announced in the journal, made, and recorded with what it said.

    announce  the entry of the turn, as STARTED: whoever takes over after a crash knows that a call was under way
    call      the library's own model class, through the provider's SDK
    record    the messages that were added, the response, the usage, and the steering that went into the request,
              in one commit

A response that was recorded is never asked for again. One that was lost between its receipt and its record is; the
call that was lost stays in the task's ledger as `unknown`, counted at its most.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic_ai.durable_exec import JSON_CODEC, record_durable_unit
from pydantic_ai.exceptions import (
    ContentFilterError,
    ModelAPIError,
    ModelHTTPError,
    UnexpectedModelBehavior,
    UserError,
)
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.money import make_room, not_sent, reservation, settlement, slow_down
from tenuto.errors import ModelError
from tenuto.tasks.outcome import Step, StepState
from tenuto.workers.journal import NotGranted
from tenuto.workers.scopes import NOTE, Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["ModelParams", "ask_model"]

_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be another one soon."""
_SHORT_PAUSE = 1.0
"""Seconds that a provider's key is left alone after "too many requests" which does not say how long."""
_LONGEST_DELAY = 3600.0
"""Seconds: no provider keeps a task away for longer."""


@dataclass(frozen=True, slots=True)
class ModelParams:
    """What a request to the model consists of."""

    ctx: RunContext[Any]
    settings: ModelSettings | None
    parameters: ModelRequestParameters

    @property
    def others(self) -> list[Any]:
        """What goes along with each request: tools, and the form of the output."""
        found = self.parameters
        tools = [*found.function_tools, *found.output_tools]
        output = None if found.output_object is None else found.output_object.json_schema
        return [output, *((tool.name, tool.description, tool.parameters_json_schema) for tool in tools)]


async def ask_model(attempt: Attempt, key: str, params: ModelParams, body: Callable[[], Awaitable[object]]) -> object:
    """The recorded form of the response. Asks the model when the journal has none under `key`.

    Raises `ModelError`, `BudgetExceeded`, and what leaves the task waiting in the store.
    """
    journal, conversation, messages = attempt.journal, attempt.conversation, params.ctx.messages
    recorded = journal.note(key)
    first = key.endswith("#0")
    if recorded is not None and recorded.state is StepState.DONE:
        response = (await journal.value(recorded))["response"]
        if first:
            conversation.add(messages, JSON_CODEC.load(ModelResponse, response))
        record_durable_unit(executed=False)
        return response
    entry = conversation.addition(messages) if first else {"from": 0, "messages": []}
    await _announced(attempt, key, params, conversation.most_tokens(messages, entry, params.others))
    response = await _asked(attempt, key, params.ctx, body)
    read = JSON_CODEC.load(ModelResponse, response)
    steering = attempt.take_steering()
    steered = {"steered": len(steering)} if steering else {}
    await journal.settle(
        Place(attempt.scope, "model", key, NOTE),
        entry | {"response": response} | steered,
        consumed=steering,
        events=(("turn", _summary(conversation.turn, read)),),
        settles=(settlement(attempt, key, params.ctx, read),),
    )
    if first:
        conversation.add(messages, read)
    record_durable_unit(executed=True)
    return response


async def _announced(attempt: Attempt, key: str, params: ModelParams, tokens_in: int) -> None:
    """The journal knows of the call, and its most is set aside."""
    reserve = reservation(attempt, key, params.ctx, tokens_in, params.settings)
    intent = (Step(key, NOTE, StepState.STARTED),)
    while True:
        try:
            await attempt.journal.commit(attempt.scope, intent, reserves=(reserve,))
        except NotGranted as refused:
            await make_room(attempt, refused.refusal)
        else:
            return


def _summary(turn: int, response: ModelResponse) -> dict[str, Any]:
    """What people who follow the task are told of a turn."""
    used = response.usage
    tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
    if used.cache_read_tokens:
        tokens["cache_read_tokens"] = used.cache_read_tokens
    calls = [part.tool_name for part in response.tool_calls]
    return {"turn": turn, "model": response.model_name, "usage": tokens} | ({"tools": calls} if calls else {})


async def _asked(attempt: Attempt, key: str, ctx: RunContext[Any], body: Callable[[], Awaitable[object]]) -> object:
    try:
        return await body()
    except ModelHTTPError as error:
        passing = error.status_code >= 500 or error.status_code in _PASSING
        if error.status_code < 500 and not error.in_stream:
            await attempt.journal.commit(attempt.scope, (), settles=(not_sent(key),))
        if error.status_code == 429:
            await slow_down(attempt, ctx, _delay(error) or _SHORT_PAUSE)
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
