"""Calls and ledgers: reserved before, settled after, counted once, and never forgotten in between."""

from __future__ import annotations

import pytest

from tenuto.stores.base import TimeToLive
from tenuto.tasks.lease import Lease
from tenuto.tasks.money import NOTHING, Amount, Budget, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState, LedgerEntry, UsageBy
from tests.conformance.stage import LEASE, Stage, Worker, raw, spec
from tests.conformance.till import Till

BOUND = Amount(1_000, 50, 1)
ACTUAL = Amount(300, 20, 1)


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


async def begin(stage: Stage, task_id: str = "task-1", **fields: object) -> tuple[Worker, Lease]:
    await stage.add(spec(task_id, **fields))
    worker = stage.worker()
    return worker, await worker.claim_one()


# -- one call ----------------------------------------------------------------------------------------------


async def test_a_call_is_reserved_then_settled_with_what_it_used(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    # When
    assert (await worker.record(lease, reserves=(Reserve("c", BOUND, "m"),))).answer is Answer.ACCEPTED
    # Then
    reserved_at = stage.clock.now
    assert await till.ledger() == [LedgerEntry("c", 1, CallState.RESERVED, BOUND, reserved_at, model="m")]
    assert await till.total() == (NOTHING, BOUND, 1)
    assert (await stage.task()).open_calls == 1
    # When
    now = stage.clock.move(500)
    assert (await worker.record(lease, settles=(Settle("c", ACTUAL),))).answer is Answer.ACCEPTED
    # Then
    entry = LedgerEntry("c", 1, CallState.SETTLED, BOUND, reserved_at, ACTUAL, "m", now)
    assert await till.ledger() == [entry]
    assert await till.total() == (ACTUAL, NOTHING, 1)
    assert (await stage.task()).open_calls == 0


async def test_a_call_commits_with_its_step(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await worker.record(lease, Step("c", 0, value=raw("answer")), settles=(Settle("c", ACTUAL),))
    assert [step.key for step in await stage.store.journal("task-1")] == ["c"]
    assert await till.states() == {"c": CallState.SETTLED}


async def test_a_repeated_record_counts_once(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    for _ in range(2):
        await worker.record(lease, reserves=(Reserve("c", BOUND),))
    assert await till.total() == (NOTHING, BOUND, 1)
    for _ in range(2):
        await worker.record(lease, settles=(Settle("c", ACTUAL),))
    await worker.record(lease, settles=(Settle("c", Amount(999_999)),))
    assert await till.total() == (ACTUAL, NOTHING, 1)


async def test_what_was_used_beyond_the_bound_is_counted(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await worker.record(lease, settles=(Settle("c", Amount(5_000, 90, 3)),))
    assert await till.total() == (Amount(5_000, 90, 3), NOTHING, 1)


async def test_a_call_that_was_not_reserved_is_counted_as_it_is_settled(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    for _ in range(2):
        await worker.record(lease, settles=(Settle("c", ACTUAL, model="m"),))
    now = stage.clock.now
    assert await till.ledger() == [LedgerEntry("c", 1, CallState.SETTLED, ACTUAL, now, ACTUAL, "m", now)]
    assert await till.total() == (ACTUAL, NOTHING, 1)
    assert await till.rows(UsageBy.MODEL) == {"m": ACTUAL}


async def test_several_calls_in_one_record(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=tuple(Reserve(f"c{number}", BOUND) for number in range(5)))
    assert [entry.call for entry in await till.ledger()] == ["c0", "c1", "c2", "c3", "c4"]
    settles = (Settle("c3", ACTUAL), Settle("c1", ACTUAL))
    await worker.record(lease, settles=settles, reserves=(Reserve("c5", BOUND),))
    assert await till.total() == (Amount(600, 40, 2), Amount(4_000, 200, 4), 6)
    assert [entry.call for entry in await till.ledger()] == ["c0", "c1", "c2", "c3", "c4", "c5"]
    assert (await stage.task()).open_calls == 4


async def test_records_of_one_request_see_each_other(stage: Stage, till: Till) -> None:
    _, lease = await begin(stage)
    await stage.store.put_budget(Budget("total", money=1_500))
    first = Record(lease.hold, reserves=(Reserve("a", BOUND),))
    second = Record(lease.hold, reserves=(Reserve("b", BOUND),))
    third = Record(lease.hold, settles=(Settle("a", ACTUAL),), reserves=(Reserve("b", BOUND),))
    answers = await stage.store.record([first, second, third], LEASE)
    assert [each.answer for each in answers] == [Answer.ACCEPTED, Answer.REFUSED, Answer.ACCEPTED]
    assert await till.total() == (ACTUAL, BOUND, 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"reserves": (Reserve("", BOUND),)}, "the name of a call"),
        ({"reserves": (Reserve("c", Amount(-1)),)}, "money"),
        ({"reserves": (Reserve("c", Amount(tokens=2**60)),)}, "tokens"),
        ({"reserves": (Reserve("c", BOUND, rates=(("r", -1),)),)}, "units"),
        ({"reserves": (Reserve("c", BOUND, rates=(("r", 1), ("r", 2))),)}, "twice"),
        ({"settles": (Settle("c", Amount(requests=-5)),)}, "requests"),
        ({"settles": (Settle("c", ACTUAL, attempt=-1),)}, "attempt"),
    ],
)
async def test_what_makes_no_sense_changes_nothing(
    stage: Stage, till: Till, fields: dict[str, tuple[Reserve | Settle]], words: str
) -> None:
    worker, lease = await begin(stage)
    recorded = await worker.record(lease, Step("s", 0), **fields)
    assert recorded.answer is Answer.INVALID
    assert words in recorded.detail
    assert await stage.store.journal("task-1") == []
    assert await till.ledger() == []


# -- attempts that end -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["done", "fail", "retry", "release", "wait", "lost", "cancelled", "expired"])
async def test_however_an_attempt_ends_what_it_did_not_settle_is_unknown(stage: Stage, till: Till, ending: str) -> None:
    # Given a call that is under way, and one that is settled
    worker, lease = await begin(stage, deadline=stage.clock.now + LEASE // 2 if ending == "expired" else None)
    await worker.record(lease, reserves=(Reserve("open", BOUND), Reserve("closed", BOUND)))
    await worker.record(lease, settles=(Settle("closed", ACTUAL),))
    # When
    match ending:
        case "lost":
            await stage.after(LEASE)
        case "cancelled":
            await stage.signal(SignalKind.CANCEL)
            assert (await till.states())["open"] is CallState.RESERVED  # its worker may still know better
            await worker.done(lease)
        case "expired":
            await stage.after(LEASE // 2)
            assert (await till.states())["open"] is CallState.RESERVED
            await stage.after(LEASE)
        case "wait":
            await worker.wait(lease, "event:go")
        case _:
            await getattr(worker, ending)(lease)
    # Then
    assert await till.states() == {"open": CallState.UNKNOWN, "closed": CallState.SETTLED}
    assert await till.total() == (BOUND + ACTUAL, NOTHING, 2)
    assert (await stage.task()).open_calls == 0


async def test_descendants_that_are_cancelled_leave_their_calls_unknown(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, spawned=(spec("task-1.a"),))
    child = await worker.claim_one()
    await worker.record(child, reserves=(Reserve("c", BOUND),))
    await stage.signal(SignalKind.CANCEL)
    assert await till.states("task-1.a") == {"c": CallState.RESERVED}
    await worker.done(child)
    assert await till.states("task-1.a") == {"c": CallState.UNKNOWN}


async def test_the_next_attempt_reserves_the_same_call_again(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await stage.after(LEASE)
    again = await worker.claim_one()
    # When
    await worker.record(again, reserves=(Reserve("c", BOUND),))
    await worker.record(again, settles=(Settle("c", ACTUAL),))
    # Then
    entries = [(entry.call, entry.attempt, entry.state) for entry in await till.ledger()]
    assert entries == [("c", 1, CallState.UNKNOWN), ("c", 2, CallState.SETTLED)]
    assert await till.total() == (BOUND + ACTUAL, NOTHING, 2)


async def test_a_later_attempt_settles_the_call_of_an_earlier_one(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND, "m"),))
    await stage.after(LEASE)
    again = await worker.claim_one()
    await worker.record(again, Step("c", 0), settles=(Settle("c", ACTUAL, attempt=1),))
    assert await till.states() == {"c": CallState.SETTLED}
    assert await till.total() == (ACTUAL, NOTHING, 1)


async def test_a_record_of_a_lost_lease_counts_nothing(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await stage.after(LEASE)
    recorded = await worker.record(lease, reserves=(Reserve("c", BOUND),))
    assert recorded == Recorded(Answer.STALE)
    assert await till.ledger() == []
    assert await till.total() == (NOTHING, NOTHING, 0)


async def test_a_call_that_was_not_sent_is_given_back(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await worker.record(lease, settles=(Settle("c"),))
    await worker.fail(lease)
    assert await till.total() == (NOTHING, NOTHING, 1)


# -- settling from outside ---------------------------------------------------------------------------------


async def test_who_knows_better_settles_what_is_unknown(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("a", BOUND), Reserve("b", BOUND)))
    await worker.done(lease)
    assert await stage.state() is State.DONE
    # When
    settles = [Settle("a", ACTUAL, attempt=1), Settle("b", attempt=1), Settle("nobody", ACTUAL, attempt=1)]
    assert list(await stage.store.settle("task-1", settles)) == [True, True, False]
    # Then
    assert await till.total() == (ACTUAL, NOTHING, 2)
    assert await till.states() == {"a": CallState.SETTLED, "b": CallState.SETTLED}
    # When it is said again
    assert list(await stage.store.settle("task-1", [Settle("a", BOUND, attempt=1)])) == [False]
    assert await till.total() == (ACTUAL, NOTHING, 2)


async def test_a_call_under_way_is_settled_from_outside(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("a", BOUND),))
    assert list(await stage.store.settle("task-1", [Settle("a", ACTUAL)])) == [True]
    assert (await stage.task()).open_calls == 0
    await worker.done(lease)
    assert await till.states() == {"a": CallState.SETTLED}


async def test_nothing_is_settled_for_a_task_that_is_not_there(stage: Stage) -> None:
    assert list(await stage.store.settle("nobody", [Settle("a", ACTUAL)])) == [False]
    assert list(await stage.store.ledger("nobody")) == []


# -- what stays --------------------------------------------------------------------------------------------


async def test_a_retry_from_the_beginning_keeps_the_ledger(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage)
    await worker.record(lease, reserves=(Reserve("c", BOUND),))
    await worker.fail(lease)
    await stage.signal(SignalKind.RETRY, data={"fresh": True})
    again = await worker.claim_one()
    await worker.record(again, reserves=(Reserve("c", BOUND),))
    assert [entry.attempt for entry in await till.ledger()] == [1, 2]


async def test_a_purge_takes_the_ledger_and_leaves_the_totals(stage: Stage, till: Till) -> None:
    worker, lease = await begin(stage, owner="ann", budget=Budget(money=10_000))
    await worker.record(lease, reserves=(Reserve("c", BOUND, "m"),))
    await worker.record(lease, settles=(Settle("c", ACTUAL),))
    await worker.done(lease)
    await stage.store.put_budget(Budget("tree:task-1", money=5_000))
    # When
    stage.clock.move(1)
    assert (await stage.sweep(TimeToLive(done=0))).purged == 1
    # Then
    assert await till.ledger() == []
    assert list(await stage.store.budgets()) == []
    assert await till.rows(UsageBy.TASK) == await till.rows(UsageBy.TREE) == {}
    for by, key in ((UsageBy.OWNER, "ann"), (UsageBy.AGENT, "echo"), (UsageBy.MODEL, "m")):
        assert await till.rows(by) == {key: ACTUAL}
    assert list((await till.rows(UsageBy.DAY)).values()) == [ACTUAL]
    # When a task of the same name comes, it begins with nothing
    await stage.add(spec(owner="ann"))
    again = await worker.claim_one()
    await worker.record(again, reserves=(Reserve("c", BOUND),))
    assert [entry.state for entry in await till.ledger()] == [CallState.RESERVED]
