"""The order of claims: bands, fair share between owners, priority, age; and that no slot stays empty."""

from __future__ import annotations

from collections import Counter

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import Claim, Exchange
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tests.conformance.stage import LEASE, Stage, spec


async def queue(stage: Stage, owner: str, count: int, **fields: int) -> None:
    await stage.add(*(spec(f"{owner}-{number}", owner=owner, **fields) for number in range(count)))


async def owners(stage: Stage, slots: int) -> Counter[str]:
    return Counter(lease.owner for lease in await stage.worker().claim(slots))


async def test_inside_an_owner_priority_counts_and_then_age(stage: Stage) -> None:
    await stage.add(
        spec("old"), spec("low", priority=-1), spec("high", priority=5), spec("young"), spec("top", priority=9)
    )
    assert await stage.worker().ids() == ["top", "high", "old", "young", "low"]


async def test_the_order_is_the_same_one_by_one(stage: Stage) -> None:
    await stage.add(
        spec("old"), spec("low", priority=-1), spec("high", priority=5), spec("young"), spec("top", priority=9)
    )
    assert await stage.worker().run_all() == ["top", "high", "old", "young", "low"]


async def test_a_lower_band_is_served_before_any_higher_one(stage: Stage) -> None:
    await stage.add(
        spec("b5", band=5, priority=100), spec("b0", priority=-100), spec("b-3", band=-3), spec("b1", band=1)
    )
    assert await stage.worker().ids() == ["b-3", "b0", "b1", "b5"]


async def test_every_owner_gets_its_share_however_many_tasks_others_have(stage: Stage) -> None:
    await queue(stage, "crowd", 100, priority=9)
    await queue(stage, "lone", 4)
    assert await owners(stage, 8) == {"crowd": 4, "lone": 4}


async def test_shares_follow_the_weights(stage: Stage) -> None:
    await stage.store.put_weight("ann", 3)
    await stage.store.put_weight("bob", 0.5)
    for owner in ("ann", "bob", "cid"):
        await queue(stage, owner, 60)
    taken: Counter[str] = Counter()
    for _ in range(9):
        taken += await owners(stage, 5)
    assert [taken[owner] for owner in ("ann", "bob", "cid")] == pytest.approx([30, 5, 10], abs=1.01)


async def test_a_weight_counts_from_the_moment_it_is_set(stage: Stage) -> None:
    for owner in ("ann", "bob"):
        await queue(stage, owner, 60)
    assert await owners(stage, 10) == {"ann": 5, "bob": 5}
    await stage.store.put_weight("ann", 4)
    taken = await owners(stage, 20)
    assert taken["ann"] == pytest.approx(16, abs=1.01)


@pytest.mark.parametrize("weight", [0, -1, 0.0001, 1001, float("nan")])
async def test_a_weight_that_makes_no_sense_is_refused(stage: Stage, weight: float) -> None:
    with pytest.raises(InvalidInput, match="weight of owner 'ann'"):
        await stage.store.put_weight("ann", weight)


async def test_an_owner_who_was_away_is_neither_owed_nor_punished(stage: Stage) -> None:
    await queue(stage, "ann", 60)
    assert await owners(stage, 40) == {"ann": 40}
    await queue(stage, "bob", 20)
    assert await owners(stage, 10) == {"ann": 5, "bob": 5}


async def test_a_share_does_not_depend_on_how_claims_are_cut_into_batches(stage: Stage) -> None:
    for owner in ("ann", "bob", "cid"):
        await queue(stage, owner, 40)
    taken: Counter[str] = Counter()
    for slots in (1, 7, 2, 1, 1, 10, 3, 5):
        taken += await owners(stage, slots)
    assert sorted(taken.values()) == [10, 10, 10]


async def test_a_worker_gets_only_tasks_of_its_agents(stage: Stage) -> None:
    await stage.add(spec("a", agent="read"), spec("b", agent="write"), spec("c", agent="think"))
    assert await stage.worker("write").ids() == ["b"]
    assert await stage.worker("read", "write", "read").ids() == ["a"]
    assert await stage.worker("sleep").ids() == []


async def test_several_agents_are_one_queue_for_each_owner(stage: Stage) -> None:
    await stage.add(*(spec(f"r{n}", agent="read", owner="ann") for n in range(10)))
    await stage.add(*(spec(f"w{n}", agent="write", owner="ann", priority=1) for n in range(10)))
    await stage.add(*(spec(f"b{n}", agent="read", owner="bob") for n in range(10)))
    worker = stage.worker("read", "write")
    taken: Counter[str] = Counter()
    for _ in range(5):
        taken.update(lease.owner for lease in await worker.claim(2))
    assert abs(taken["ann"] - taken["bob"]) <= 1
    leases = await worker.claim(100)
    assert len(leases) == 20
    mine = [lease.task_id for lease in leases if lease.owner == "ann"]
    assert mine == sorted(mine, key=lambda task_id: task_id.startswith("r")), "priority counts over both lanes"


async def test_no_slot_stays_empty_while_a_task_waits(stage: Stage) -> None:
    for owner, count in (("ann", 1), ("bob", 30), ("cid", 3)):
        await queue(stage, owner, count)
    await stage.add(*(spec(f"band-{n}", owner="dee", band=n) for n in range(1, 6)))
    got = await stage.worker().claim(35)
    assert len(got) == 35
    assert len(await stage.worker().claim(35)) == 4


async def test_more_owners_than_slots_are_served_in_turn(stage: Stage) -> None:
    for number in range(200):
        await stage.add(spec(f"a{number}", owner=f"owner-{number}"), spec(f"b{number}", owner=f"owner-{number}"))
    taken: Counter[str] = Counter()
    for _ in range(20):
        taken += await owners(stage, 10)
    assert set(taken.values()) == {1}, "nobody gets a second task before everybody had a first"


async def test_what_is_not_claimable_is_not_claimed(stage: Stage) -> None:
    await stage.add(spec("paused"), spec("late", run_at=stage.clock.now + 1), spec("free"), spec("gone"))
    await stage.signal(SignalKind.PAUSE, "paused")
    await stage.signal(SignalKind.CANCEL, "gone")
    assert await stage.worker().ids() == ["free"]


async def test_an_elevated_task_comes_first(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"), spec("c"))
    await stage.signal(SignalKind.ELEVATE, "c", data=10)
    assert await stage.worker().ids() == ["c", "a", "b"]


async def test_a_task_keeps_its_age_when_it_is_handed_back(stage: Stage) -> None:
    await stage.add(spec("a"), spec("b"))
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.release(lease)
    assert await worker.ids() == ["a", "b"]


async def test_a_claimed_task_says_all_that_running_it_needs(stage: Stage) -> None:
    await stage.add(spec(owner="ann", deadline=stage.clock.now + 5_000, timeout=60_000, attempt_timeout=7_000))
    answer = await stage.worker().exchange(slots=5)
    (lease,) = answer.leases
    assert (lease.task_id, lease.attempt, lease.root, lease.agent, lease.owner) == (
        "task-1",
        1,
        "task-1",
        "echo",
        "ann",
    )
    assert (lease.expires, lease.time_left, lease.attempt_timeout) == (stage.clock.now + LEASE, 5_000, 7_000)
    assert (lease.run, lease.epoch, lease.failures, lease.losses, lease.steps, lease.messages) == (1, 0, 0, 0, 0, ())
    assert lease.nonce > 0
    assert (answer.now, answer.more) == (stage.clock.now, False)
    task = await stage.task()
    assert (task.state, task.attempt, task.nonce, task.worker) == (State.RUNNING, 1, lease.nonce, "worker-1")
    assert (task.started_at, task.lease_until) == (stage.clock.now, stage.clock.now + LEASE)


async def test_nothing_is_claimed_for_no_slots_or_no_agents(stage: Stage) -> None:
    await stage.add(spec())
    for claim in (Claim(("echo",), 0, LEASE), Claim((), 5, LEASE)):
        answer = await stage.store.commit_and_claim(Exchange("worker", 1, (), claim))
        assert answer.leases == ()


async def test_ten_workers_at_once_get_each_task_once(stage: Stage) -> None:
    await queue(stage, "ann", 100)
    got = [lease.task_id for worker in [stage.worker() for _ in range(10)] for lease in await worker.claim(10)]
    assert sorted(got) == sorted(f"ann-{number}" for number in range(100))


async def test_who_is_next_is_next_though_many_before_it_were_turned_away(stage: Stage) -> None:
    # Given more owners than an engine looks at in one go, nearly all of them behind a full limit
    await stage.limit("db", concurrency=1)
    await stage.add(spec("first", owner="a"), spec("second", owner="a"))
    await stage.add(*(spec(f"held-{number:03}", owner=f"b-{number:03}", limits=("db",)) for number in range(80)))
    await stage.add(spec("late", owner="c"))
    # When more is claimed than there is room for
    claimed = await stage.worker().ids(10)
    # Then the last owner's turn still comes before the first one's second
    assert claimed == ["first", "held-000", "late", "second"]
