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
from typing import TYPE_CHECKING, Any, cast

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
    serving: Model
    """the model, or what a capability has send the request in its place (`BatchModelRequests`)"""

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
    first = place.key == model_key(attempt.conversation.turn)
    if (recorded := await request_on_record(attempt.journal, place.key)) is not None:
        known, last = recorded
        place = _behind(place, last)
        if known["response"] is not None:
            record_durable_unit(executed=False)
            return known["response"]
        place.scope.counts[place.name] += 1  # it is the next one's no more
    turn = _OpenTurn(attempt, place, params)
    response = await turn.ask(body, attempt.read if first else None)
    await turn.keep(response)
    record_durable_unit(executed=True)
    return response


class _OpenTurn:
    """A request that has no response on record, and the entry of the journal that is to have it."""

    def __init__(self, attempt: Attempt, place: Place, params: ModelParams) -> None:
        self._attempt = attempt
        self._place = place
        self._params = params
        self._offer = offer_of(params.parameters)
        conversation, mine = attempt.conversation, place.scope is attempt.scope
        anew = mine and params.before is None and place.name == MODEL
        self._begins = anew and not conversation.replays
        """it is the first of its turn"""
        self._instead = anew and conversation.replays
        """a hook wants another response than the one that is on record"""
        self._goes_on = mine and params.before is not None
        """the response that it goes on with is that of the turn"""
        self._entry: dict[str, Any] = {"from": 0, "messages": []}
        if self._begins:
            self._entry = conversation.addition(params.messages, self._offer)
        elif self._instead:
            self._entry |= {"instead": True} | conversation.changed(self._offer)
        self._closed = _closed(attempt, place, self._entry) if params.before is None else {}
        # Before anybody is paid for what cannot be kept.
        encode(self._entry, f"what turn {conversation.turn} adds to the messages")

    async def ask(self, body: Callable[[], Awaitable[object]], read: int | None) -> dict[str, Any]:
        """The response, announced before and not recorded yet. read: how far the inbox was read for it."""
        attempt, place, params = self._attempt, self._place, self._params
        made = params.before if is_made(params.serving, params.before) is not None else None
        most = await _most_tokens(attempt, place, params, self._entry, self._offer)
        self._request = request = Request(attempt, place, params, most, read, fetches=made is not None)
        try:
            if made is not None:
                response = await fetched(attempt, place, params.serving, made, partial(request.made, body))
            else:
                response = await request.made(body)
        except BaseException:
            attempt.unanswered.add(place.key)
            raise
        response = cast("dict[str, Any]", joined(response))
        _tell_apart(attempt.journal, response, params.before)
        return response

    async def keep(self, response: dict[str, Any]) -> None:
        """Records the response, what was said before it, what it has cost, and the steering that it has heard."""
        attempt, place, before = self._attempt, self._place, self._params.before
        turn, call = attempt.conversation.turn, self._request.call
        read: ModelResponse = JSON_CODEC.load(ModelResponse, response)
        whole = read if before is None else _whole(before, response)
        steering = attempt.take_steering() if self._begins else ()
        entry = dict(self._entry)
        if not call:
            entry["fetched"] = True
        elif call != place.key:
            entry["call"] = call
        entry["response"] = response
        if steering:
            entry["steered"] = len(steering)
        await attempt.journal.settle(
            place,
            entry,
            notes=self._closed,
            consumed=steering,
            events=() if is_open(response) or place.name != MODEL else (("turn", _summary(turn, whole)),),
            settles=await _settles(self._request, self._params, read),
        )
        self._remember(read, whole)

    def _remember(self, read: ModelResponse, whole: ModelResponse) -> None:
        """The entry is durable."""
        conversation = self._attempt.conversation
        if self._begins:
            conversation.add(self._params.messages, self._offer, read)
        elif self._instead:
            conversation.go_on(read, self._offer)
        elif self._goes_on:
            conversation.go_on(whole)


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


async def _settles(request: Request, params: ModelParams, read: ModelResponse) -> tuple[Settle, ...]:
    """What the request has cost; nothing yet as long as the provider is making its response, or does not say."""
    if is_made(params.serving if request.model is params.model else request.model, read) is not None:
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
