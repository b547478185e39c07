"""Totals: by task, tree, owner, agent, model and day; summed upwards, and always the sum of the ledgers."""

from __future__ import annotations

from random import Random

import pytest

from tenuto.errors import InvalidInput
from tenuto.tasks.goal import Tree
from tenuto.tasks.money import NOTHING, Amount, Reserve, Settle
from tenuto.tasks.outcome import Answer
from tenuto.tasks.usage import CallState, UsageBy, UsageRow
from tests.conformance.stage import LEASE, START, Stage, spec
from tests.conformance.till import Till

DAY = 86_400_000


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


async def test_a_call_counts_for_all_that_it_belongs_to(stage: Stage, till: Till) -> None:
    # Given a child of a child, each with a call
    root = await till.running("root", agent="lead", owner="ann")
    await root[0].record(root[1], spawned=(spec("root.a", agent="mid", owner="ann"),))
    mid_worker = stage.worker("mid")
    mid = mid_worker, await mid_worker.claim_one()
    await mid[0].record(mid[1], spawned=(spec("root.b", agent="low"),))
    low_worker = stage.worker("low")
    low = low_worker, await low_worker.claim_one()
    # When each makes a call
    for held, tokens, model in ((root, 1, "x"), (mid, 10, "y"), (low, 100, "x")):
        assert await till.granted(held, "c", Amount(tokens=1_000), model=model)
        await till.settle(held, "c", Amount(tokens=tokens))

    # Then
    def of(rows: dict[str, Amount]) -> dict[str, int]:
        return {key: amount.tokens for key, amount in rows.items()}

    assert of(await till.rows(UsageBy.TASK)) == {"root": 111, "root.a": 110, "root.b": 100}
    assert of(await till.rows(UsageBy.TREE)) == {"root": 111}
    assert of(await till.rows(UsageBy.OWNER)) == {"ann": 11}
    assert of(await till.rows(UsageBy.AGENT)) == {"lead": 1, "low": 100, "mid": 10}
    assert of(await till.rows(UsageBy.MODEL)) == {"x": 101, "y": 10}
    assert of(await till.rows(UsageBy.DAY)) == {"2025-06-15": 111}


async def test_the_nodes_of_a_goal_count_for_the_goal(stage: Stage, till: Till) -> None:
    await stage.add(Tree(spec("goal-1", agent=""), (spec("a", agent="a"), spec("b", agent="b"))))
    for agent in ("a", "b"):
        worker = stage.worker(agent)
        held = worker, await worker.claim_one()
        assert await till.granted(held, "c", Amount(5, 5, 1))
        await till.settle(held, "c", Amount(2, 2, 1))
    assert await till.rows(UsageBy.TREE) == {"goal-1": Amount(4, 4, 2)}
    assert await till.rows(UsageBy.TASK) == {"a": Amount(2, 2, 1), "b": Amount(2, 2, 1), "goal-1": Amount(4, 4, 2)}


async def test_what_is_under_way_is_told_apart(stage: Stage, till: Till) -> None:
    held = await till.running("t")
    assert await till.granted(held, "a", Amount(10, 5, 1))
    assert await till.granted(held, "b", Amount(10, 5, 1))
    await till.settle(held, "a", Amount(7, 5, 1))
    assert list(await stage.store.usage(UsageBy.TREE)) == [UsageRow("t", Amount(7, 5, 1), Amount(10, 5, 1), 2)]


async def test_days_are_listed_and_summed(stage: Stage, till: Till) -> None:
    # Given calls of three days, the last of them settled a day later
    for owner, tokens in (("ann", 1), ("bob", 10), ("ann", 100)):
        held = await till.running(owner=owner)
        assert await till.granted(held, "c", Amount(tokens=500))
        stage.clock.move(DAY)
        await till.settle(held, "c", Amount(tokens=tokens))
    # Then
    days = {"2025-06-15": Amount(0, 1), "2025-06-16": Amount(0, 10), "2025-06-17": Amount(0, 100)}
    assert await till.rows(UsageBy.DAY) == days
    assert await till.rows(UsageBy.DAY, of="owner:ann") == {
        "2025-06-15": Amount(0, 1),
        "2025-06-17": Amount(0, 100),
    }
    assert list(await till.rows(UsageBy.DAY, since="2025-06-16")) == ["2025-06-16", "2025-06-17"]
    assert list(await till.rows(UsageBy.DAY, until="2025-06-16")) == ["2025-06-15", "2025-06-16"]
    assert list(await till.rows(UsageBy.DAY, prefix="2025-06-16")) == ["2025-06-16"]
    assert list(await till.rows(UsageBy.DAY, limit=1)) == ["2025-06-15"]
    assert await till.rows(UsageBy.OWNER) == {"ann": Amount(0, 101), "bob": Amount(0, 10)}
    assert await till.rows(UsageBy.OWNER, since="2025-06-16", until="2025-06-17") == {
        "ann": Amount(0, 100),
        "bob": Amount(0, 10),
    }
    assert await till.rows(UsageBy.OWNER, until="2025-06-15") == {"ann": Amount(0, 1)}
    assert await till.rows(UsageBy.DAY, of="owner:nobody") == {}


async def test_keys_are_filtered_and_cut(stage: Stage, till: Till) -> None:
    for owner in ("ann", "anna", "bob", "b:c", "é", "%"):
        held = await till.running(owner=owner)
        await till.settle(held, "c", Amount(1))
    assert list(await till.rows(UsageBy.OWNER)) == sorted(["ann", "anna", "bob", "b:c", "é", "%"])
    assert list(await till.rows(UsageBy.OWNER, prefix="ann")) == ["ann", "anna"]
    assert list(await till.rows(UsageBy.OWNER, prefix="%")) == ["%"]
    assert list(await till.rows(UsageBy.OWNER, limit=2)) == ["%", "ann"]
    assert list(await till.rows(UsageBy.MODEL)) == []


@pytest.mark.parametrize(
    ("by", "where"),
    [
        (UsageBy.TASK, {"since": "2025-06-15"}),
        (UsageBy.TREE, {"until": "2025-06-15"}),
        (UsageBy.DAY, {"of": "task:t"}),
        (UsageBy.DAY, {"since": "June"}),
        (UsageBy.OWNER, {"until": "2025-6-1"}),
    ],
)
async def test_what_is_not_counted_cannot_be_asked_for(stage: Stage, by: UsageBy, where: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        await stage.store.usage(by, **where)  # type: ignore[arg-type]  # the keywords are those of the parameters


@pytest.mark.parametrize("seed", range(3))
async def test_totals_are_the_sums_of_ledgers(stage: Stage, till: Till, seed: int) -> None:
    # Given tasks of several owners and agents, whose calls come and go over days, some in attempts that are lost
    random = Random(seed)
    ids = [f"t{number}" for number in range(8)]
    owner_of = {task_id: random.choice(("ann", "bob")) for task_id in ids}
    await stage.add(*(spec(task_id, owner=owner_of[task_id]) for task_id in ids))
    worker = stage.worker()
    held = {lease.task_id: lease for lease in await worker.claim(8)}
    for step in range(120):
        lease = held[random.choice(sorted(held))]
        open_calls = [e.call for e in await till.ledger(lease.task_id) if e.state is CallState.RESERVED]
        match random.randrange(6):
            case 0 | 1:
                bound = Amount(random.randrange(10**12), random.randrange(1_000), 1)
                model = random.choice(("x", "y", ""))
                recorded = await worker.record(lease, reserves=(Reserve(f"c{step}", bound, model),))
                assert recorded.answer is Answer.ACCEPTED
            case 2 | 3 if open_calls:
                actual = Amount(random.randrange(10**12), random.randrange(1_000), 1)
                await worker.record(lease, settles=(Settle(random.choice(open_calls), actual),))
            case 4:
                await worker.release(lease)
                held[lease.task_id] = await worker.claim_one()
            case 5 if step % 30 > 24:  # a task that is lost too often fails
                stage.clock.move(random.choice((LEASE + 1, DAY // 2)))
                await stage.sweep()
                held = {again.task_id: again for again in await worker.claim(8)}
    # Then
    entries = [(task_id, entry) for task_id in ids for entry in await till.ledger(task_id)]
    total = sum((entry.counted for _, entry in entries), NOTHING)
    for by in (UsageBy.TASK, UsageBy.TREE, UsageBy.OWNER, UsageBy.AGENT, UsageBy.DAY):
        rows = await stage.store.usage(by)
        assert sum((row.spent + row.reserved for row in rows), NOTHING) == total
        assert sum(row.calls for row in rows) == len(entries)
    under_way = [entry.bound for _, entry in entries if entry.state is CallState.RESERVED]
    assert sum((row.reserved for row in await stage.store.usage(UsageBy.DAY)), NOTHING) == sum(under_way, NOTHING)
    for owner in ("ann", "bob"):
        mine = sum((entry.counted for task_id, entry in entries if owner_of[task_id] == owner), NOTHING)
        by_day = await stage.store.usage(UsageBy.DAY, of=f"owner:{owner}")
        assert sum((row.spent + row.reserved for row in by_day), NOTHING) == mine
    assert stage.clock.now > START
