"""Responses that a provider makes in the background: the task waits for them, and holds nothing for long.

    turn-4/model#0    the provider has begun, and names the response that is to come
    turn-4/model#1    what it came to

Whoever dies or has to let go meanwhile: the next attempt asks for the same response. To ask whether it is there costs
nothing, so that is neither announced nor recorded; what the request set aside stays so until it is known what it cost.
For the first minute or so the worker asks. Then the task waits in the store, and is claimed for each question: between
two of them there is a tenth of the time that the response has taken so far, and at most a minute.

A response that came to nothing, because the provider has failed or does not keep it any more, is recorded as that, and
made anew by the next attempt. So is a request that a batch turns out to have refused: its status says whether another
attempt is worth it, and whether it has cost something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model

from tenuto.agents.llm.failures import failed
from tenuto.agents.llm.model_errors import came_to_nothing, explained, is_free
from tenuto.agents.llm.money import refused_for_free, settlement
from tenuto.errors import ModelError
from tenuto.tasks.money import Settle
from tenuto.tasks.segments import is_open, previous_segment
from tenuto.tasks.waits import Wait
from tenuto.workers.journal import Journal
from tenuto.workers.scopes import Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["fetched", "give_up", "is_made", "settled"]

_SHARE = 10
"""What part of the time that a response has taken may pass before it is asked for again: one in so many."""
_LONGEST = 60.0
"""Seconds between two questions, at most."""
_HERE = 5.0
"""Seconds that the worker waits itself."""
_MOST_LOST = 3
"""Responses of one turn that may come to nothing."""
_PATIENCE = 5.0
"""Seconds to find out whether a task that is being left is over."""


def is_made(model: Model, response: ModelResponse | None) -> float | None:
    """Where `response` is still being made by the provider: seconds to wait before it is asked for."""
    if response is None or response.state != "suspended":
        return None
    return model.continuation_delay(response)


async def fetched(
    attempt: Attempt,
    place: Place,
    model: Model,
    before: ModelResponse,
    body: Callable[[], Awaitable[dict[str, Any]]],
) -> dict[str, Any]:
    """The response that `before` has named, when the provider has made it; the recorded form.

    Raises `ModelError`, and what leaves the task waiting in the store.
    """
    journal = attempt.journal
    begun = journal.note(previous_segment(place.key))
    since = (begun.at if begun is not None else 0) or journal.now()
    while True:
        try:
            response = await body()
        except Exception as error:
            if await failed(attempt, model, error) and came_to_nothing(error):
                await _lost(attempt, place, model, error)
            raise
        if response.get("finish_reason") == "error" and not response["parts"]:
            await _lost(attempt, place, model, ModelAPIError(model.model_name, "the provider has given it up"))
        if not is_open(response) or response.get("provider_response_id") != before.provider_response_id:
            return response
        journal.check()
        taken = (journal.now() - since) / 1000
        pause = min(max(is_made(model, before) or 0, taken / _SHARE), _LONGEST)
        if pause > _HERE:
            await journal.suspend(attempt.here, Wait(until=journal.now() + round(pause * 1000)))
        await asyncio.sleep(pause)


async def settled(attempt: Attempt, place: Place, model: Model, response: ModelResponse) -> Settle | None:
    """What a response that was fetched at `place` has used, for the request that had it begun."""
    call, begun = await _begun(attempt.journal, place)
    settle = settlement(attempt, call, model, response)
    return None if settle is None else msgspec.structs.replace(settle, attempt=begun)


async def _begun(journal: Journal, place: Place) -> tuple[str, int]:
    """The request that had the response at `place` begun: its name in the ledger, and its attempt."""
    key = previous_segment(place.key)
    entry: Mapping[str, Any] = {}
    while (begun := journal.note(key)) is not None and (entry := await journal.value(begun)).get("fetched"):
        key = previous_segment(key)
    return entry.get("call", key), 0 if begun is None else begun.attempt


async def give_up(
    attempt: Attempt, model: Model, response: ModelResponse, body: Callable[[], Awaitable[object]]
) -> object:
    """The library lets a response go that is still being made. The provider is told so when the task is over;
    otherwise the next attempt will ask for it."""
    if is_made(model, response) is None or attempt.here.suspended is not None:
        return None
    store, task_id = attempt.context.services.store, attempt.context.task_id
    try:
        async with asyncio.timeout(_PATIENCE):
            task = await attempt.context.services.patience.ask(lambda: store.task(task_id), "task")
    except TimeoutError:
        return None
    return await body() if task is None or task.is_final else None


async def _lost(attempt: Attempt, place: Place, model: Model, error: Exception) -> None:
    """Records that the response came to nothing. Where it was not refused it may have been paid for, so what was set
    aside for it stays so. Raises `ModelError`, but for a refusal that may be another one the next time: that is for
    whoever asked."""
    refused = isinstance(error, ModelHTTPError)
    lost = 1 + await _lost_before(attempt.journal, place.key)
    settles = (await _free(attempt, place, model),) if refused and is_free(error) else ()
    await attempt.journal.settle(place, {"from": 0, "messages": [], "response": None}, settles=settles)
    again = lost < _MOST_LOST
    if refused and again:
        return
    said = f"{attempt.who}: a response that the provider was making came to nothing: {str(error)[:500]}"
    told = explained(attempt.who, error, model) if refused else ModelError(said)
    often = "" if again else f" ({lost} times, so it is not tried again)"
    raise ModelError(f"{told}{often}", status=told.status, retryable=again)


async def _free(attempt: Attempt, place: Place, model: Model) -> Settle:
    """The response at `place` has cost nothing."""
    call, begun = await _begun(attempt.journal, place)
    return refused_for_free(attempt, call, model, begun)


async def _lost_before(journal: Journal, key: str) -> int:
    lost = 0
    while not key.endswith("#0"):
        key = previous_segment(key)
        step = journal.note(key)
        lost += step is not None and (await journal.value(step))["response"] is None
    return lost
