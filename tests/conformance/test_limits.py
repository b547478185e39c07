"""Limits: never more at once or per time than allowed, no slot lost, no room kept from those who could use it."""

from __future__ import annotations

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import MOST_PARKED
from tenuto.tasks.goal import Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tests.conformance.stage import LEASE, Stage, spec


async def queue(stage: Stage, count: int, *keys: str, agent: str = "echo", name: str = "t") -> list[str]:
    names = [f"{name}{number}" for number in range(count)]
    await stage.add(*(spec(each, limits=keys, agent=agent) for each in names))
    return names


# -- concurrency -------------------------------------------------------------------------------------------


async def test_no_more_run_at_once_than_allowed(stage: Stage) -> None:
    await stage.limit("db", concurrency=2)
    await queue(stage, 5, "db")
    worker, other = stage.worker(), stage.worker()
    first, second = await worker.claim(10)
    assert await other.claim(10) == []
    assert await stage.used("db") == (2, 3)
    assert (await stage.task("t2")).gate == "db"
    assert await stage.state("t2") is State.READY
    await worker.done(first)
    (third,) = await other.claim(10)
    await worker.done(second)
    await other.done(third)
    assert [lease.task_id for lease in await worker.claim(10)] == ["t3", "t4"]
    assert await stage.used("db") == (2, 0)


@pytest.mark.parametrize("ending", ["done", "fail", "retry", "release", "wait", "lost", "cancelled"])
async def test_however_an_attempt_ends_its_slots_are_free(stage: Stage, ending: str) -> None:
    await stage.limit("db", concurrency=1)
    await stage.limit("api", concurrency=1)
    await stage.add(spec("first", limits=("db", "api")), spec("next", limits=("api",), priority=-1))
    worker = stage.worker()
    lease = await worker.claim_one()
    assert await worker.ids() == []
    assert (await stage.used("db"), await stage.used("api")) == ((1, 0), (1, 1))
    match ending:
        case "lost":
            await stage.after(LEASE)
        case "cancelled":
            await stage.signal(SignalKind.CANCEL, "first")
            await worker.done(lease)
        case "wait":
            await worker.wait(lease, "event:go")
        case "retry":
            await worker.retry(lease, 60_000)
        case _:
            await getattr(worker, ending)(lease)
    assert (await stage.used("db"))[0] == (await stage.used("api"))[0] == 0
    assert len(await worker.ids()) == 1


async def test_no_slot_is_taken_when_another_limit_is_full(stage: Stage) -> None:
    await stage.limit("a", concurrency=5)
    await stage.limit("b", concurrency=1)
    await queue(stage, 3, "a", "b")
    worker = stage.worker()
    await worker.claim(10)
    assert await stage.used("a") == (1, 0)
    assert await stage.used("b") == (1, 2)


async def test_a_key_without_a_definition_limits_nothing(stage: Stage) -> None:
    await queue(stage, 5, "unknown")
    assert len(await stage.worker().claim(10)) == 5
    assert list(await stage.store.limits()) == []


async def test_a_limit_defined_while_tasks_run_counts_them(stage: Stage) -> None:
    await queue(stage, 5, "db")
    worker = stage.worker()
    leases = await worker.claim(3)
    await stage.limit("db", concurrency=3)
    assert await worker.ids() == []
    assert await stage.used("db") == (3, 2)
    await worker.done(leases[0])
    assert len(await worker.claim(10)) == 1


async def test_a_wider_limit_lets_more_in_and_a_narrower_one_waits(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 6, "db")
    worker = stage.worker()
    (first,) = await worker.claim(10)
    await stage.limit("db", concurrency=4)
    leases = [first, *await worker.claim(10)]
    assert len(leases) == 4
    await stage.limit("db", concurrency=2)
    for lease in leases[:2]:
        await worker.done(lease)
        assert await worker.claim(10) == []
    await worker.done(leases[2])
    assert len(await worker.claim(10)) == 1


async def test_dropping_a_limit_puts_everybody_back(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 5, "db")
    worker = stage.worker()
    (lease,) = await worker.claim(10)
    assert await stage.store.drop_limit("db") is True
    assert await stage.store.drop_limit("db") is False
    assert list(await stage.store.limits()) == []
    assert len(await worker.claim(10)) == 4
    await worker.done(lease)
    await stage.limit("db", concurrency=4)
    assert await stage.used("db") == (4, 0), "what runs is counted, whatever was defined when"


async def test_parked_tasks_come_back_by_priority_and_then_age(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await stage.add(*(spec(f"p{priority}", limits=("db",), priority=priority) for priority in (5, 1, 3, 2, 4)))
    assert await stage.worker().run_all() == ["p5", "p4", "p3", "p2", "p1"]


async def test_a_task_behind_a_full_limit_does_not_hold_up_others(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 100, "db")
    await stage.add(*(spec(f"free{number}", priority=-1) for number in range(5)))
    worker = stage.worker()
    ids = await worker.ids(6)
    assert ids == ["t0", *(f"free{number}" for number in range(5))]


async def test_one_claim_parks_only_so_many_and_says_that_there_is_more(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 2 * MOST_PARKED + 10, "db")
    await stage.add(spec("free", priority=-1))
    worker = stage.worker()
    found: list[str] = []
    more, asked = True, 0
    while more and asked < 10:
        answer = await worker.exchange(slots=2 - len(found))
        found += [lease.task_id for lease in answer.leases]
        more, asked = answer.more, asked + 1
        assert (await stage.used("db"))[1] <= asked * MOST_PARKED
    assert found == ["t0", "free"]
    assert asked <= 4


async def test_room_is_not_kept_for_tasks_that_nobody_claims(stage: Stage) -> None:
    """Tasks of `absent` and `echo` are parked behind one limit; the workers of `absent` are gone."""
    await stage.limit("db", concurrency=1)
    await stage.add(spec("holder", limits=("db",), agent="first"))
    await queue(stage, 5, "db", agent="absent", name="gone")
    await queue(stage, 3, "db", name="here")
    first = stage.worker("first")
    (lease,) = await first.claim(1)
    assert await stage.worker("absent", "echo").claim(10) == []
    assert await stage.used("db") == (1, 8)
    await first.done(lease)
    worker = stage.worker("echo")
    assert await worker.run_all() == ["here0", "here1", "here2"]


async def test_room_is_not_kept_for_a_task_that_was_paused_or_cancelled_meanwhile(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await stage.add(spec("holder", limits=("db",)), spec("a", limits=("db",), priority=9), spec("b", limits=("db",)))
    worker = stage.worker()
    lease = await worker.claim_one()
    assert lease.task_id == "a"
    assert await worker.ids() == []
    await stage.signal(SignalKind.PAUSE, "holder")
    await worker.done(lease)
    assert await worker.run_all() == ["b"]
    await stage.signal(SignalKind.RESUME, "holder")
    assert await worker.run_all() == ["holder"]


async def test_a_task_put_back_and_then_paused_gives_its_room_to_the_next(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 3, "db")
    worker = stage.worker()
    lease = await worker.claim_one()
    assert await worker.ids() == []
    await worker.done(lease)
    await stage.sweep()  # t1 is put back
    await stage.signal(SignalKind.PAUSE, "t1")
    assert await worker.run_all() == ["t2"]
    await stage.signal(SignalKind.RESUME, "t1")
    assert await worker.run_all() == ["t1"]


async def test_a_parked_task_ends_like_any_other(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 3, "db")
    worker = stage.worker()
    lease = await worker.claim_one()
    assert await worker.ids() == []
    await stage.signal(SignalKind.CANCEL, "t1")
    assert await stage.used("db") == (1, 1)
    assert (await stage.task("t1")).gate == ""
    await worker.done(lease)
    assert await worker.run_all() == ["t2"]


async def test_parking_leaves_no_trace_in_the_history(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await queue(stage, 2, "db")
    await stage.worker().run_all()
    assert await stage.kinds("t1") == ["created", "started", "done"]


# -- rate --------------------------------------------------------------------------------------------------


async def test_claims_are_spread_over_the_period(stage: Stage) -> None:
    await stage.limit("api", rate=10, period=1_000)
    await queue(stage, 30, "api")
    worker, claimed = stage.worker(), []
    begin = stage.clock.now
    while stage.clock.now < begin + 2_000:
        claimed += [stage.clock.now - begin] * len(await worker.claim(10))
        stage.clock.move(20)
    assert claimed == list(range(0, 2_000, 100))


async def test_a_rate_that_is_used_up_says_when_it_opens(stage: Stage) -> None:
    await stage.limit("api", rate=2, period=10_000)
    await queue(stage, 3, "api")
    worker = stage.worker()
    answer = await worker.exchange(slots=10, lease=10**8)
    assert len(answer.leases) == 1
    assert answer.next_due == stage.clock.now + 5_000
    (use,) = await stage.store.limits()
    assert (use.next_at, use.parked) == (stage.clock.now + 5_000, 2)
    stage.clock.move(4_999)
    assert await worker.claim(10) == []
    stage.clock.move(1)
    assert len(await worker.claim(10)) == 1
    assert (await stage.sweep()).next_due == stage.clock.now + 5_000


async def test_a_rate_that_nobody_waits_for_rings_no_timer(stage: Stage) -> None:
    await stage.limit("api", rate=1, period=1_000)
    await queue(stage, 2, "api")
    worker = stage.worker()
    first = await worker.claim_one()
    assert await worker.claim(5) == []
    stage.clock.move(1_000)
    second = await worker.claim_one()
    for lease in (first, second):
        await worker.done(lease)
    swept = await stage.sweep()
    assert (swept.changed, swept.next_due) == (0, None)
    assert (await stage.after(60_000)).changed == 0


async def test_a_burst_may_follow_at_once_after_a_quiet_time(stage: Stage) -> None:
    await stage.limit("api", rate=10, period=1_000, burst=4)
    await queue(stage, 20, "api")
    worker = stage.worker()
    assert len(await worker.claim(20)) == 4
    stage.clock.move(200)
    assert len(await worker.claim(20)) == 2


async def test_a_sweep_puts_back_what_a_rate_lets_through(stage: Stage) -> None:
    await stage.limit("api", rate=1, period=1_000)
    await queue(stage, 3, "api")
    worker = stage.worker()
    assert len(await worker.claim(5)) == 1
    assert await stage.used("api") == (1, 2)
    swept = await stage.after(1_000)
    assert swept.changed == 1
    assert await stage.used("api") == (1, 1)


async def test_a_retry_pays_for_its_next_claim_again(stage: Stage) -> None:
    await stage.limit("api", rate=1, period=1_000)
    await queue(stage, 1, "api")
    worker = stage.worker()
    await worker.retry(await worker.claim_one(), 0)
    await stage.sweep()
    assert await worker.claim(1) == []
    stage.clock.move(1_000)
    assert len(await worker.claim(1)) == 1


async def test_a_new_definition_keeps_what_was_used_up(stage: Stage) -> None:
    await stage.limit("api", rate=1, period=10_000)
    await queue(stage, 3, "api")
    worker = stage.worker()
    await worker.claim(1)
    await stage.limit("api", rate=1, period=5_000)
    stage.clock.move(9_999)
    assert await worker.claim(10) == []
    stage.clock.move(1)
    assert len(await worker.claim(10)) == 1
    stage.clock.move(5_000)
    assert len(await worker.claim(10)) == 1


async def test_both_kinds_of_limit_hold_together(stage: Stage) -> None:
    await stage.limit("api", concurrency=2, rate=10, period=1_000, burst=10)
    await queue(stage, 8, "api")
    worker = stage.worker()
    leases = await worker.claim(10)
    assert len(leases) == 2
    for lease in leases:
        await worker.done(lease)
    assert len(await worker.claim(10)) == 2


async def test_a_task_with_two_limits_waits_for_both(stage: Stage) -> None:
    await stage.limit("slow", rate=1, period=1_000)
    await stage.limit("narrow", concurrency=1)
    await queue(stage, 3, "slow", "narrow")
    worker = stage.worker()
    first = await worker.claim_one()
    stage.clock.move(1_000)
    assert await worker.claim(5) == [], "the rate lets it through, the slots do not"
    await worker.done(first)
    second = await worker.claim_one()
    await worker.done(second)
    assert await worker.claim(5) == [], "the slots let it through, the rate does not"
    stage.clock.move(1_000)
    assert len(await worker.claim(5)) == 1


# -- all the rest ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limit", [Limit(""), Limit("a", concurrency=0), Limit("a", rate=-1), Limit("a", rate=1, period=0)]
)
async def test_a_limit_that_makes_no_sense_is_refused(stage: Stage, limit: Limit) -> None:
    with pytest.raises(InvalidInput):
        await stage.store.put_limit(limit)
    assert list(await stage.store.limits()) == []


async def test_limits_are_listed_by_key(stage: Stage) -> None:
    for key in ("b", "a", "ü", "c"):
        await stage.limit(key, concurrency=1)
    assert [use.limit.key for use in await stage.store.limits()] == ["a", "b", "c", "ü"]


async def test_limits_of_a_tree_hold_from_its_first_claim(stage: Stage) -> None:
    specs = tuple(spec(f"n{number}", limits=("gpu",)) for number in range(4))
    await stage.add(Tree(spec("goal-1", agent=""), specs, limits=(Limit("gpu", concurrency=2),)))
    assert len(await stage.worker().claim(10)) == 2


@pytest.mark.parametrize("agents", [("echo",), ("absent", "echo"), ("other", "echo")])
async def test_with_limits_too_no_slot_stays_empty_that_could_be_used(stage: Stage, agents: tuple[str, ...]) -> None:
    await stage.limit("x", concurrency=2)
    await stage.limit("y", concurrency=3)
    await queue(stage, 4, "x", "y", name="xy")
    await queue(stage, 4, "y", name="y")
    await queue(stage, 4, "x", name="x")
    await queue(stage, 4, "y", "x", agent="other", name="yx")
    worker = stage.worker(*agents)
    ended = 0
    while leases := await worker.claim(10):
        again = await stage.worker(*agents).exchange(slots=10)
        assert not again.leases, "a second claim at once finds nothing that the first could have had"
        assert not again.more
        await worker.done(leases[0])
        ended += 1
        for lease in leases[1:]:
            await worker.done(lease)
            ended += 1
    assert ended == (16 if "other" in agents else 12)
    assert await stage.used("x") == (0, 0)
    assert await stage.used("y") == (0, 0)
