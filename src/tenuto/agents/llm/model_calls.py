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
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic_ai.durable_exec import JSON_CODEC, record_durable_unit
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from tenuto.agents.llm.background import fetched, is_made, settled
from tenuto.agents.llm.conversation import bytes_of, request_on_record
from tenuto.agents.llm.offers import offer_of
from tenuto.agents.llm.requests import Request, who_said
from tenuto.tasks.calls import issued_key
from tenuto.tasks.money import Settle
from tenuto.tasks.outcome import StepState
from tenuto.tasks.segments import continued, is_open, next_segment, previous_segment
from tenuto.tasks.turns import calls_of, model_key
from tenuto.tasks.values import encode, joined
from tenuto.workers.journal import Journal
from tenuto.workers.scopes import Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["MODEL", "ModelParams", "ask_model"]

MODEL = "model"
"""The name of requests in the journal."""


@dataclass(frozen=True, slots=True)
class ModelParams:
    """What a request to the model consists of."""

    model: Model
    messages: Sequence[ModelMessage]
    """of the conversation"""
    settings: ModelSettings | None
    parameters: ModelRequestParameters
    sent: Sequence[ModelMessage]
    """what the model gets: the messages of the conversation, or what was made of them for this request"""

    @property
    def before(self) -> ModelResponse | None:
        """The suspended response that the request goes on with."""
        last = self.sent[-1] if self.sent else None
        return last if isinstance(last, ModelResponse) and last.state == "suspended" else None


async def ask_model(
    attempt: Attempt, place: Place, params: ModelParams, body: Callable[[], Awaitable[object]]
) -> object:
    """The recorded form of the response. Asks the model when the journal has none at `place`.

    Raises `ModelError`, `BudgetExceeded`, `TooLarge`, and what leaves the task waiting in the store.
    """
    journal, conversation, messages = attempt.journal, attempt.conversation, params.messages
    first, before = place.key == model_key(conversation.turn), params.before
    if (recorded := await request_on_record(journal, place.key)) is not None:
        place = _behind(place, recorded[1])
        if (known := recorded[0]["response"]) is not None:
            record_durable_unit(executed=False)
            return known
        place.scope.counts[place.name] += 1  # it is the next one's no more
    anew = before is None and place.scope is attempt.scope and place.name == MODEL
    opens = anew and not conversation.replays
    offer = offer_of(params.parameters)
    entry: dict[str, Any] = conversation.addition(messages, offer) if opens else {"from": 0, "messages": []}
    if anew and not opens:  # a hook wants another response than the one that is on record
        entry |= {"instead": True} | conversation.changed(offer)
    closed = _closed(attempt, place, entry) if before is None else {}
    # Before anybody is paid for what cannot be kept.
    encode(entry, f"what turn {conversation.turn} adds to the messages")
    most = await _most_tokens(attempt, place, params, entry, offer)
    fetches = before is not None and is_made(params.model, before) is not None
    request = Request(attempt, place, params, most, attempt.read if first else None, fetches=fetches)
    try:
        if fetches and before is not None:
            response = await fetched(attempt, place, params.model, before, partial(request.made, body))
        else:
            response = await request.made(body)
    except BaseException:
        attempt.unanswered.add(place.key)
        raise
    if not request.call:
        entry["fetched"] = True
    elif request.call != place.key:
        entry["call"] = request.call
    response = joined(response)
    _tell_apart(journal, response, before)
    read: ModelResponse = JSON_CODEC.load(ModelResponse, response)
    whole = read if before is None else _whole(before, response)
    steering = attempt.take_steering() if opens else ()
    steered = {"steered": len(steering)} if steering else {}
    await journal.settle(
        place,
        entry | {"response": response} | steered,
        notes=closed,
        consumed=steering,
        events=() if is_open(response) or place.name != MODEL else (("turn", _summary(conversation.turn, whole)),),
        settles=await _settles(request, read),
    )
    if opens:
        conversation.add(messages, offer, read)
    elif anew:
        conversation.go_on(read, offer)
    elif before is not None and place.scope is attempt.scope:
        conversation.go_on(whole)
    record_durable_unit(executed=True)
    return response


def _behind(place: Place, last: str) -> Place:
    """The place behind the request `last` of the same name, which the next one is counted from."""
    key = next_segment(last)
    place.scope.counts[place.name] = int(key.rpartition("#")[2])
    return replace(place, key=key)


def _closed(attempt: Attempt, place: Place, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The requests before the one at `place` that have failed, where another is made for the same, by their keys: they
    came to nothing, which is recorded with the response. Whoever goes on finds all of them, or makes all of them."""
    nothing = {"from": entry["from"], "messages": [], "response": None}
    nothing |= {"instead": True} if "instead" in entry else {}
    closed: dict[str, Any] = {}
    key = place.key
    while not key.endswith("#0") and (key := previous_segment(key)) in attempt.unanswered:
        if (known := attempt.journal.note(key)) is not None and known.state is StepState.DONE:
            break
        closed[key] = nothing
    return closed


async def _most_tokens(
    attempt: Attempt, place: Place, params: ModelParams, entry: dict[str, Any], offer: dict[str, Any]
) -> int:
    """The most tokens that the request can take in."""
    if params.before is not None and (step := attempt.journal.note(previous_segment(place.key))) is not None:
        said = (await attempt.journal.value(step))["response"]
        if taken := said["usage"].get("input_tokens"):
            return int(taken) + int(said["usage"].get("output_tokens", 0)) + bytes_of(said["parts"])
    return attempt.conversation.most_tokens(params.sent, params.messages, entry, offer)


def _whole(before: ModelResponse, response: dict[str, Any]) -> ModelResponse:
    """The response together with what it goes on with."""
    whole: ModelResponse = JSON_CODEC.load(ModelResponse, continued(JSON_CODEC.dump(ModelResponse, before), response))
    return whole


async def _settles(request: Request, read: ModelResponse) -> tuple[Settle, ...]:
    """What the request has cost; nothing yet as long as the provider is making its response, or does not say."""
    if is_made(request.model, read) is not None:
        return ()
    if request.call:
        settle = request.settlement(read)
    else:
        settle = await settled(request.attempt, request.place, who_said(request.model, read), read)
    return () if settle is None else (settle,)


def _tell_apart(journal: Journal, response: Mapping[str, Any], before: ModelResponse | None) -> None:
    """Gives a call an id of its own where the model gave it none, one that another call of this turn has, or one under
    which the task has asked somebody before: results and answers are found by it, and an approval is for one call."""
    seen = {call.tool_call_id for call in before.tool_calls} if before is not None else set()
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
