"""Asking the model: a call is announced in the journal, made, and recorded with what it said.

    announce  the entry of the turn, as STARTED: whoever takes over after a crash knows that a call was under way
    call      the library's own model class, through the provider's SDK
    record    the messages that were added, the response, the usage, and the steering that went into the request,
              in one commit

A response that was recorded is never asked for again. One that was lost between its receipt and its record is; the
call that was lost stays in the task's ledger as `unknown`, counted at its most.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.durable_exec import JSON_CODEC, record_durable_unit
from pydantic_ai.exceptions import (
    ContentFilterError,
    FallbackExceptionGroup,
    ModelAPIError,
    ModelConnectionError,
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
from tenuto.tasks.calls import issued_key
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.turns import calls_of, model_key
from tenuto.tasks.values import encode
from tenuto.workers.interruption import HandedBack
from tenuto.workers.journal import Journal, NotGranted
from tenuto.workers.scopes import Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["ModelParams", "ask_model"]

_PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 that may be another one soon."""
_TURNED_AWAY = frozenset({503, 529})
"""Statuses from 500 that say that nobody has begun to work on the request: unavailable, overloaded (Anthropic)."""
_SHORT_PAUSE = 1.0
"""Seconds that a provider's key is left alone after "too many requests" which does not say how long."""
_LONGEST_DELAY = 3600.0
"""Seconds: no provider keeps a task away for longer."""
_LONGEST_TEXT = 500
"""Characters of what a provider said that an error repeats."""


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


async def ask_model(
    attempt: Attempt, place: Place, params: ModelParams, body: Callable[[], Awaitable[object]]
) -> object:
    """The recorded form of the response. Asks the model when the journal has none at `place`.

    Raises `ModelError`, `BudgetExceeded`, `TooLarge`, and what leaves the task waiting in the store.
    """
    journal, conversation, messages = attempt.journal, attempt.conversation, params.ctx.messages
    recorded = journal.note(place.key)
    first = place.key == model_key(conversation.turn)
    if recorded is not None and recorded.state is StepState.DONE:
        response = (await journal.value(recorded))["response"]
        if first:
            conversation.add(messages, JSON_CODEC.load(ModelResponse, response))
        record_durable_unit(executed=False)
        return response
    entry = conversation.addition(messages) if first else {"from": 0, "messages": []}
    # Before anybody is paid for what cannot be kept.
    encode(entry, f"what turn {conversation.turn} adds to the messages")
    await _announced(attempt, place, params, conversation.most_tokens(messages, entry, params.others))
    response = cast("dict[str, Any]", await _asked(attempt, place, params.ctx, body))
    _tell_apart(attempt.journal, response)
    read = JSON_CODEC.load(ModelResponse, response)
    steering = attempt.take_steering() if first else ()
    steered = {"steered": len(steering)} if steering else {}
    await journal.settle(
        place,
        entry | {"response": response} | steered,
        consumed=steering,
        events=(("turn", _summary(conversation.turn, read)),),
        settles=(settlement(attempt, place.key, params.ctx, read),),
    )
    if first:
        conversation.add(messages, read)
    record_durable_unit(executed=True)
    return response


async def _announced(attempt: Attempt, place: Place, params: ModelParams, tokens_in: int) -> None:
    """The journal knows of the call, and its most is set aside."""
    reserve = reservation(attempt, place.key, params.ctx, tokens_in, params.settings)
    intent = (Step(place.key, place.position, StepState.STARTED),)
    while True:
        try:
            await attempt.journal.commit(place.scope, intent, reserves=(reserve,))
        except NotGranted as refused:
            await make_room(attempt, refused.refusal)
        except HandedBack:  # the task was paused meanwhile: the request that was to come now costs nothing
            with suppress(HandedBack):
                await attempt.journal.commit(attempt.scope, (), settles=(not_sent(reserve.call),))
            raise
        else:
            return


def _tell_apart(journal: Journal, response: Mapping[str, Any]) -> None:
    """Gives a call an id of its own where the model gave it none, one that another call of this turn has, or one under
    which the task has asked somebody before: results and answers are found by it, and an approval is for one call."""
    seen: set[str] = set()
    for call in calls_of(response):
        call_id = call["tool_call_id"]
        if not call_id or call_id in seen or journal.note(issued_key(call_id)) is not None:
            call["tool_call_id"] = f"call_{uuid.uuid4().hex}"
        seen.add(call_id)


def _summary(turn: int, response: ModelResponse) -> dict[str, Any]:
    """What people who follow the task are told of a turn."""
    used = response.usage
    tokens = {"input_tokens": used.input_tokens, "output_tokens": used.output_tokens}
    if used.cache_read_tokens:
        tokens["cache_read_tokens"] = used.cache_read_tokens
    calls = [part.tool_name for part in response.tool_calls]
    return {"turn": turn, "model": response.model_name, "usage": tokens} | ({"tools": calls} if calls else {})


async def _asked(attempt: Attempt, place: Place, ctx: RunContext[Any], body: Callable[[], Awaitable[object]]) -> object:
    try:
        return await body()
    except (ModelAPIError, UnexpectedModelBehavior, UserError, FallbackExceptionGroup) as error:
        if _is_free(error):
            await attempt.journal.commit(place.scope, (), settles=(not_sent(place.key),))
        if isinstance(error, ModelHTTPError) and error.status_code == 429:
            await slow_down(attempt, ctx, _delay(error) or _SHORT_PAUSE)
        raise _explained(_who(attempt), error) from error


def _is_free(error: Exception) -> bool:
    """Whether the provider has certainly done nothing that it is paid for: it was not reached, or it refused."""
    match error:
        case ModelHTTPError():
            return not error.in_stream and (error.status_code < 500 or error.status_code in _TURNED_AWAY)
        case ModelConnectionError():
            return error.phase in ("pool", "connect")
    return False


def _explained(who: str, error: Exception) -> ModelError:
    """What to tell about `error`, and whether it may pass by itself."""
    match error:
        case ModelHTTPError(status_code=status):
            passing = status >= 500 or status in _PASSING
            return ModelError(
                f"{who}: the model {error.model_name!r} answered with HTTP {status}: {_said(error)}",
                status=status,
                retryable=passing,
                retry_after=_delay(error) if passing else None,
            )
        case ContentFilterError():
            return ModelError(f"{who}: the provider's content filter refused: {error}", retryable=False)
        case UserError():
            return ModelError(f"{who}: {error}", retryable=False)
        case FallbackExceptionGroup():
            each = [_explained(who, one) for one in error.exceptions]
            passing = any(one.retryable for one in each)
            return ModelError("; ".join(map(str, each))[:_LONGEST_TEXT], retryable=passing)
    return ModelError(f"{who}: the model did not answer usably: {str(error)[:_LONGEST_TEXT]}")


def _who(attempt: Attempt) -> str:
    return f"agent {attempt.context.lease.agent!r}, turn {attempt.conversation.turn}"


def _said(error: ModelHTTPError) -> str:
    body = error.body
    if isinstance(body, dict):
        inner = body.get("error", body)
        body = inner.get("message", inner) if isinstance(inner, dict) else inner
    return str(body)[:_LONGEST_TEXT] if body else "no reason given"


def _delay(error: ModelHTTPError) -> float | None:
    """Seconds that the provider asks to be left alone (RFC 9110, Retry-After)."""
    return None if error.retry_after is None else min(error.retry_after, _LONGEST_DELAY)
