"""Budgets that are busy: what calls under way hold is waited for, in turn, and only what is spent is a limit."""

from __future__ import annotations

import pytest

from tenuto.stores.base import TimeToLive
from tenuto.stores.rules.lines import GRACE, PATIENCE
from tenuto.tasks.lease import Lease
from tenuto.tasks.money import Amount, AtLimit, Budget, Period, Refusal, RefusalKind, Reserve, Settle
from tenuto.tasks.outcome import Answer
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.waits import budget_topic
from tests.conformance.stage import LEASE, START, Stage, Worker, spec
from tests.conformance.till import Till

TOPIC = budget_topic("owner:ann")
Held = tuple[Worker, Lease]


@pytest.fixture
async def till(stage: Stage) -> Till:
    await stage.store.put_budget(Budget("owner:ann", tokens=100, at_limit=AtLimit.PAUSE))
    return Till(stage)


async def held(till: Till, *names: str) -> list[Held]:
    """Tasks of Ann's, each with a worker of its own."""
    return [await till.running(name, owner="ann", agent=f"agent-{name}") for name in names]


async def asks(till: Till, one: Held, tokens: int, call: str = "c") -> RefusalKind | None:
    refused = (await till.reserve(one, call, Amount(tokens=tokens))).refused
    return None if refused is None else refused.kind


async def waits(one: Held, stage: Stage) -> Answer:
    """The task waits in the store, as its worker was told."""
    return await one[0].wait(one[1], TOPIC, until=stage.clock.now + PATIENCE)


async def settles(till: Till, one: Held, tokens: int) -> None:
    await till.settle(one, "c", Amount(tokens=tokens))


# -- busy, or spent ----------------------------------------------------------------------------------------


async def test_what_calls_under_way_hold_is_no_limit_and_what_is_spent_is(stage: Stage, till: Till) -> None:
    # Given a budget of 100, of which a call under way holds 80
    first, second = await held(till, "a", "b")
    assert await asks(till, first, 80) is None
    # When another one needs 30
    recorded = await till.reserve(second, "c", Amount(tokens=30))
    # Then it is told that the budget is busy, and how long it may wait at most
    assert recorded.refused == Refusal(
        "c", "owner:ann", RefusalKind.BUSY, START, START + PATIENCE, "tokens", 20, None, AtLimit.PAUSE
    )
    # When that call has used up what it held
    await settles(till, first, 80)
    # Then the budget is spent
    recorded = await till.reserve(second, "c", Amount(tokens=30))
    assert recorded.refused == Refusal(
        "c", "owner:ann", RefusalKind.BUDGET, START, None, "tokens", 20, None, AtLimit.PAUSE
    )


async def test_what_one_record_asks_for_does_not_wait_for_itself(till: Till) -> None:
    ((worker, lease),) = await held(till, "a")
    reserves = (Reserve("c", Amount(tokens=60)), Reserve("d", Amount(tokens=60)))
    refused = (await worker.record(lease, reserves=reserves)).refused
    assert refused is not None
    assert (refused.call, refused.kind, refused.left) == ("d", RefusalKind.BUDGET, 40)


async def test_a_budget_that_is_spent_goes_before_one_that_is_busy(stage: Stage, till: Till) -> None:
    # Given an owner's budget that is busy, and one of the day that is spent
    first, second = await held(till, "a", "b")
    await stage.store.put_budget(Budget("total", requests=1, period=Period.DAY))
    assert (await till.reserve(first, "c", Amount(tokens=100))).refused is None
    await till.settle(first, "d", Amount(requests=1))
    refused = (await till.reserve(second, "c", Amount(tokens=1, requests=1))).refused
    assert refused is not None
    assert (refused.key, refused.kind) == ("total", RefusalKind.BUDGET)


# -- in turn -----------------------------------------------------------------------------------------------


async def test_room_is_kept_for_whoever_came_first(stage: Stage, till: Till) -> None:
    # Given a budget of which 80 are held, and one who waits for 60
    first, large, small = await held(till, "first", "large", "small")
    assert await asks(till, first, 80) is None
    assert await asks(till, large, 60) is RefusalKind.BUSY
    # When a smaller one comes, then it waits behind it, though it would fit in
    assert await asks(till, small, 20) is RefusalKind.BUSY
    # When there is room for both, then both get it
    await settles(till, first, 10)
    assert await asks(till, small, 20) is None
    assert await asks(till, large, 60) is None
    # And when nobody waits any more, whoever fits in gets it
    assert await asks(till, small, 10, "d") is None


async def test_small_calls_do_not_starve_a_large_one(stage: Stage, till: Till) -> None:
    # Given tasks that need 20 each, one after the other, and one that needs 90
    many = await held(till, *(f"t{number}" for number in range(5)))
    (large,) = await held(till, "large")
    for one in many:
        assert await asks(till, one, 20) is None
    assert await asks(till, large, 90) is RefusalKind.BUSY
    # When they come again and again, as each of their calls ends
    granted = 0
    for turn, one in enumerate(many):
        await till.settle(one, "c", Amount(tokens=1))
        granted += await asks(till, one, 20, f"c{turn}") is None
    # Then the large one is next
    assert granted == 0
    assert await asks(till, large, 90) is None


async def test_two_budgets_do_not_make_two_tasks_wait_for_each_other(stage: Stage, till: Till) -> None:
    async def refused_at(one: Held, bound: Amount) -> str | None:
        refused = (await till.reserve(one, "c", bound)).refused
        return None if refused is None else refused.key

    # Given one who waits at the owner's budget, and one who came later and waits at the total's
    await stage.store.put_budget(Budget("total", requests=1))
    first, early, late = await held(till, "first", "early", "late")
    other = await till.running("other")
    assert await refused_at(first, Amount(tokens=80)) is None
    assert await refused_at(early, Amount(tokens=60, requests=1)) == "owner:ann"
    stage.clock.move(1)
    assert await refused_at(other, Amount(requests=1)) is None
    assert await refused_at(late, Amount(requests=1)) == "total"
    # When there is room in both, in each of which another one of them came first
    for one in (first, other):
        await till.settle(one, "c", Amount())
    stage.clock.move(1)
    assert await refused_at(late, Amount(tokens=60, requests=1)) == "owner:ann"
    # Then the one who has waited longest gets it
    assert await refused_at(early, Amount(tokens=60, requests=1)) is None


async def test_a_place_is_kept_until_shortly_after_its_call_was_to_come_back(stage: Stage, till: Till) -> None:
    first, gone, later = await held(till, "first", "gone", "later")
    assert await asks(till, first, 80) is None
    assert await asks(till, gone, 60) is RefusalKind.BUSY
    stage.clock.move(PATIENCE + GRACE)
    for worker, lease in (first, later):
        await worker.renew(lease, span=LEASE * 100)
    assert await asks(till, later, 20) is RefusalKind.BUSY
    stage.clock.move(1)
    assert await asks(till, later, 20) is None


# -- waiting in the store ----------------------------------------------------------------------------------


async def test_who_waits_in_the_store_is_woken_when_there_is_room(stage: Stage, till: Till) -> None:
    first, second, third = await held(till, "a", "b", "c")
    assert await asks(till, first, 80) is None
    for one in (second, third):
        assert await asks(till, one, 60) is RefusalKind.BUSY
        await waits(one, stage)
    why = await stage.store.why("b")
    assert why is not None
    assert "calls under way that hold the rest of the budget 'owner:ann'" in why.because[0]
    # When there is room for one of them
    await settles(till, first, 10)
    # Then that is the one who came first
    assert await stage.states("b", "c") == ["ready", "waiting"]
    # And the other one comes when the first has settled
    again = await second[0].claim_one()
    assert await asks(till, (second[0], again), 60) is None
    assert await stage.state("c") is State.WAITING
    await settles(till, (second[0], again), 5)
    assert await stage.state("c") is State.READY


async def test_room_that_came_before_the_task_had_begun_to_wait_is_not_missed(stage: Stage, till: Till) -> None:
    first, second = await held(till, "a", "b")
    assert await asks(till, first, 80) is None
    assert await asks(till, second, 60) is RefusalKind.BUSY
    await settles(till, first, 10)
    await waits(second, stage)
    assert await stage.state("b") is State.READY


async def test_who_will_never_have_room_is_woken_to_be_told(stage: Stage, till: Till) -> None:
    first, large, small = await held(till, "a", "large", "small")
    assert await asks(till, first, 80) is None
    for one, tokens in ((large, 60), (small, 30)):
        assert await asks(till, one, tokens) is RefusalKind.BUSY
        await waits(one, stage)
    # When half of the budget is spent
    await settles(till, first, 50)
    # Then both are woken: one has no room for good, the other one has
    assert await stage.states("large", "small") == ["ready", "ready"]
    assert await asks(till, (large[0], await large[0].claim_one()), 60) is RefusalKind.BUDGET
    assert await asks(till, (small[0], await small[0].claim_one()), 30) is None


async def test_what_a_lost_worker_had_reserved_is_spent_and_those_who_wait_are_told(stage: Stage, till: Till) -> None:
    first, second = await held(till, "a", "b")
    assert await asks(till, first, 80) is None
    assert await asks(till, second, 60) is RefusalKind.BUSY
    await waits(second, stage)
    await stage.after(LEASE)
    assert await stage.state("b") is State.READY
    assert await asks(till, (second[0], await second[0].claim_one()), 60) is RefusalKind.BUDGET


async def test_who_leaves_the_line_without_room_lets_the_next_one_go(stage: Stage, till: Till) -> None:
    # Given two who wait, and only the first of whom has room when the call under way is settled
    first, second, third = await held(till, "a", "b", "c")
    assert await asks(till, first, 80) is None
    for one in (second, third):
        assert await asks(till, one, 60) is RefusalKind.BUSY
        await waits(one, stage)
    await settles(till, first, 40)
    assert await stage.states("b", "c") == ["ready", "waiting"]
    # When it comes back for more than there will ever be
    assert await asks(till, (second[0], await second[0].claim_one()), 61) is RefusalKind.BUDGET
    # Then the next one is called, although nothing is under way
    assert await stage.state("c") is State.READY
    assert await asks(till, (third[0], await third[0].claim_one()), 60) is None


@pytest.mark.parametrize("change", ["raised", "dropped", "settled from outside"])
async def test_whatever_makes_room_wakes_those_who_wait(stage: Stage, till: Till, change: str) -> None:
    first, second = await held(till, "a", "b")
    assert await asks(till, first, 80) is None
    assert await asks(till, second, 60) is RefusalKind.BUSY
    await waits(second, stage)
    match change:
        case "raised":
            await stage.store.put_budget(Budget("owner:ann", tokens=1_000))
        case "dropped":
            await stage.store.drop_budget("owner:ann")
        case _:
            await stage.store.settle("a", [Settle("c", Amount(tokens=5))])
    assert await stage.state("b") is State.READY
    assert await asks(till, (second[0], await second[0].claim_one()), 60) is None


@pytest.mark.parametrize("change", ["nothing", "dropped before"])
async def test_nobody_waits_for_ever(stage: Stage, till: Till, change: str) -> None:
    first, second = await held(till, "a", "b")
    assert await asks(till, first, 80) is None
    assert await asks(till, second, 60) is RefusalKind.BUSY
    if change == "dropped before":
        await stage.store.drop_budget("owner:ann")
        await waits(second, stage)
    else:
        await waits(second, stage)
        await first[0].renew(first[1], span=LEASE * 100)
        await stage.after(PATIENCE)
    assert await stage.state("b") is State.READY


async def test_who_was_cancelled_holds_nobody_up_for_long(stage: Stage, till: Till) -> None:
    first, gone, second = await held(till, "a", "b", "c")
    assert await asks(till, first, 80) is None
    for one, tokens in ((gone, 60), (second, 50)):
        assert await asks(till, one, tokens) is RefusalKind.BUSY
        await waits(one, stage)
    await stage.signal(SignalKind.CANCEL, "b")
    await settles(till, first, 5)
    assert await stage.state("c") is State.WAITING
    await stage.after(PATIENCE)
    assert await asks(till, (second[0], await second[0].claim_one()), 50) is None


async def test_a_line_leaves_with_its_tree(stage: Stage) -> None:
    till = Till(stage)
    await stage.add(spec("root", agent="lead", budget=Budget(tokens=10)))
    worker = stage.worker("lead")
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("root.kid"),))
    kid = stage.worker()
    child = kid, await kid.claim_one()
    assert await till.granted((worker, lease), "c", Amount(tokens=10))
    assert not await till.granted(child, "c", Amount(tokens=1))
    await worker.done(lease)
    await kid.done(child[1])
    # When the tree is removed, and another one has its name
    stage.clock.move(1)
    assert (await stage.sweep(TimeToLive(done=0))).purged == 1
    assert list(await stage.store.budgets()) == []
    again = await till.running("root", agent="lead", budget=Budget(tokens=10))
    # Then nobody stands in its line
    assert await till.granted(again, "c", Amount(tokens=10))
