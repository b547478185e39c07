"""A call is reserved once: the same request again is answered again, and any other one is refused, never granted."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.tasks.money import NOTHING, Amount, Budget, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import FINAL
from tenuto.tasks.usage import CallState
from tests.conformance.stage import LEASE, Stage, raw, spec
from tests.conformance.till import Till

BOUND = Amount(1_000, 50, 1)
ACTUAL = Amount(300, 20, 1)


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


# -- reserving again ---------------------------------------------------------------------------------------


async def test_the_same_reservation_again_is_granted_and_counted_once(stage: Stage, till: Till) -> None:
    # Given a budget and a rate with room for one call
    await stage.store.put_budget(Budget("total", money=1_000))
    await stage.limit("rate", rate=60, period=60_000, burst=50)
    worker, lease = await till.running("task-1")
    asked = Reserve("c", BOUND, "m", (("rate", 50), ("free", 3)))
    # When the answer is lost, and the worker asks again
    answers = [await worker.record(lease, Step("s", 0, value=raw(1)), reserves=(asked,)) for _ in range(3)]
    # Then
    assert answers == [Recorded(Answer.ACCEPTED)] * 3
    assert await till.total() == (NOTHING, BOUND, 1)
    assert (await stage.task()).open_calls == 1
    # And units of the rate were taken once
    await stage.store.put_budget(Budget("total", money=2_000))
    stage.clock.move(1_000)
    assert await till.granted((worker, lease), "d", NOTHING, rates=(("rate", 1),))


@pytest.mark.parametrize("settled", ["after it", "by another", "with nothing", "unreserved"])
async def test_a_call_that_is_settled_is_not_reserved_again(stage: Stage, till: Till, settled: str) -> None:
    worker, lease = await till.running("task-1")
    if settled != "unreserved":
        await worker.record(lease, reserves=(Reserve("c", BOUND),))
    if settled == "by another":
        assert list(await stage.store.settle("task-1", [Settle("c", ACTUAL)])) == [True]
    else:
        await worker.record(lease, settles=(Settle("c", NOTHING if settled == "with nothing" else ACTUAL),))
    before = await till.ledger(), await till.total(), await stage.task()
    # When
    stage.clock.move(1)
    recorded = await worker.record(lease, Step("s", 0), reserves=(Reserve("new", BOUND), Reserve("c", BOUND)))
    # Then
    assert recorded.answer is Answer.INVALID
    assert "call 'c' of task 'task-1' is settled" in recorded.detail
    assert (await till.ledger(), await till.total(), await stage.task()) == before
    assert await stage.store.journal("task-1") == []


@pytest.mark.parametrize(
    "other",
    [
        Reserve("c", BOUND + Amount(1), "m", (("rate", 5),)),
        Reserve("c", BOUND - Amount(tokens=1), "m", (("rate", 5),)),
        Reserve("c", BOUND, "dear", (("rate", 5),)),
        Reserve("c", BOUND, "m", (("rate", 6),)),
        Reserve("c", BOUND, "m"),
    ],
)
async def test_an_open_reservation_is_not_granted_for_something_else(stage: Stage, till: Till, other: Reserve) -> None:
    await stage.limit("rate", rate=60, period=60_000, burst=50)
    worker, lease = await till.running("task-1")
    await worker.record(lease, reserves=(Reserve("c", BOUND, "m", (("rate", 5),)),))
    # When
    recorded = await worker.record(lease, Step("s", 0), reserves=(other,))
    # Then
    assert recorded.answer is Answer.INVALID
    assert "call 'c' of task 'task-1' is reserved" in recorded.detail
    assert await till.total() == (NOTHING, BOUND, 1)
    assert await stage.store.journal("task-1") == []


@pytest.mark.parametrize(
    "calls",
    [
        {"reserves": (Reserve("c", BOUND), Reserve("c", BOUND))},
        {"settles": (Settle("c", ACTUAL),), "reserves": (Reserve("c", BOUND),)},
        {"settles": (Settle("c", ACTUAL, attempt=1),), "reserves": (Reserve("a", BOUND), Reserve("c", BOUND))},
    ],
)
async def test_a_record_reserves_a_call_once_and_settles_none_of_these(
    stage: Stage, till: Till, calls: dict[str, Any]
) -> None:
    worker, lease = await till.running("task-1")
    recorded = await worker.record(lease, Step("s", 0), **calls)
    assert recorded.answer is Answer.INVALID
    assert "call 'c'" in recorded.detail
    assert await till.ledger() == []
    assert await stage.store.journal("task-1") == []


async def test_what_cannot_be_reserved_is_told_before_what_has_no_room(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("total", money=1_000))
    worker, lease = await till.running("task-1")
    await worker.record(lease, settles=(Settle("c", ACTUAL),))
    await stage.signal(SignalKind.STEER, data="more")
    reserves = (Reserve("large", Amount(1_001)), Reserve("c", BOUND))
    assert (await worker.record(lease, reserves=reserves, read=0)).answer is Answer.INVALID
    assert (await worker.record(lease, reserves=reserves[:1], read=0)).answer is Answer.UNREAD
    assert (await worker.record(lease, reserves=reserves[:1], read=1)).answer is Answer.REFUSED


async def test_records_of_one_request_are_looked_at_one_after_the_other(stage: Stage, till: Till) -> None:
    _, lease = await till.running("task-1")
    reserve, settle = Record(lease.hold, reserves=(Reserve("c", BOUND),)), Record(lease.hold, settles=(Settle("c"),))
    answers = await stage.store.record([reserve, reserve, settle, reserve], LEASE)
    assert [each.answer for each in answers] == [Answer.ACCEPTED, Answer.ACCEPTED, Answer.ACCEPTED, Answer.INVALID]
    assert await till.total() == (NOTHING, NOTHING, 1)


# -- the next attempt --------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [CallState.UNKNOWN, CallState.SETTLED])
async def test_whoever_takes_over_makes_a_call_of_their_own(stage: Stage, till: Till, left: CallState) -> None:
    # Given a call of an attempt that was lost
    await stage.store.put_budget(Budget("total", money=2_000))
    worker, lease = await till.running("task-1")
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    if left is CallState.SETTLED:
        await worker.record(lease, settles=(Settle("c", BOUND),))
    await stage.after(LEASE)
    again = await worker.claim_one()
    # When the next attempt makes it again
    assert (await worker.record(again, reserves=(Reserve("c", BOUND, "m"),))).answer is Answer.ACCEPTED
    # Then both are counted, and there is no room for a third
    assert [(entry.attempt, entry.state) for entry in await till.ledger()] == [(1, left), (2, CallState.RESERVED)]
    assert await till.total() == (BOUND, BOUND, 2)
    assert not await till.granted((worker, again), "d", Amount(1))


# -- settling again, and settling what is not there --------------------------------------------------------


async def test_the_first_settlement_stands(stage: Stage, till: Till) -> None:
    worker, lease = await till.running("task-1")
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await worker.record(lease, settles=(Settle("c", ACTUAL), Settle("c", BOUND)))
    assert (await worker.record(lease, settles=(Settle("c", BOUND),))).answer is Answer.ACCEPTED
    assert list(await stage.store.settle("task-1", [Settle("c", BOUND)])) == [False]
    assert await till.total() == (ACTUAL, NOTHING, 1)


async def test_a_call_of_an_attempt_that_has_not_begun_is_not_settled(stage: Stage, till: Till) -> None:
    worker, lease = await till.running("task-1")
    recorded = await worker.record(lease, Step("s", 0), settles=(Settle("a", ACTUAL), Settle("c", ACTUAL, attempt=2)))
    assert recorded.answer is Answer.INVALID
    assert "attempt 2" in recorded.detail
    assert list(await stage.store.settle("task-1", [Settle("c", ACTUAL, attempt=2)])) == [False]
    assert await till.ledger() == []
    assert await stage.store.journal("task-1") == []


# -- a task that has ended ---------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["done", "fail", "cancelled", "expired"])
async def test_a_task_that_has_ended_reserves_and_settles_nothing(stage: Stage, till: Till, ending: str) -> None:
    # Given
    await stage.add(spec(deadline=stage.clock.now + LEASE // 2 if ending == "expired" else None))
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, reserves=(Reserve("open", BOUND),))
    match ending:
        case "cancelled":
            await stage.signal(SignalKind.CANCEL)
        case "expired":
            await stage.after(LEASE)
        case _:
            await getattr(worker, ending)(lease)
    assert await stage.state() in FINAL
    before = await till.ledger(), await till.total()
    # When
    for calls in ({"reserves": (Reserve("c", BOUND),)}, {"settles": (Settle("open", ACTUAL),)}):
        assert await worker.record(lease, **calls) == Recorded(Answer.STALE)
    # Then
    assert (await till.ledger(), await till.total()) == before
