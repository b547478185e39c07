"""Budgets: no reservation beyond one, on any level, in any window; what was refused leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.errors import InvalidInput, NotFound
from tenuto.tasks.goal import Tree
from tenuto.tasks.money import NOTHING, Amount, AtLimit, Budget, Period, Refusal, RefusalKind, Reserve, Settle
from tenuto.tasks.outcome import Answer, Recorded, Step
from tenuto.tasks.states import State
from tests.conformance.stage import LEASE, START, Stage, raw, spec
from tests.conformance.till import Till

CENT = 10_000_000


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


# -- one budget --------------------------------------------------------------------------------------------


async def test_a_budget_is_used_up_to_the_last_nano_dollar(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("total", money=3 * CENT))
    held = await till.running()
    assert await till.granted(held, "a", Amount(CENT))
    assert not await till.granted(held, "b", Amount(2 * CENT + 1))
    assert await till.granted(held, "b", Amount(2 * CENT))
    assert not await till.granted(held, "c", Amount(1))
    assert await till.granted(held, "free", Amount(0, 500))
    assert await till.use("total") == [("", NOTHING, Amount(3 * CENT, 500))]


async def test_a_refused_record_leaves_no_trace(stage: Stage, till: Till) -> None:
    # Given
    await stage.store.put_budget(Budget("total", money=CENT, at_limit=AtLimit.PAUSE))
    worker, lease = await till.running("task-1")
    before = await stage.task()
    # When one of two reservations has no room
    recorded = await worker.record(
        lease,
        Step("s", 0, value=raw(1)),
        spawned=(spec("task-1.a"),),
        reserves=(Reserve("small", Amount(1)), Reserve("large", Amount(CENT))),
        events=(("progress", raw({"fraction": 0.5})),),
    )
    # Then
    refused = Refusal("large", "total", RefusalKind.BUDGET, START, None, "money", CENT - 1, None, AtLimit.PAUSE)
    assert recorded == Recorded(Answer.REFUSED, refused=refused)
    assert await stage.task() == before
    assert await stage.store.journal("task-1") == []
    assert await stage.store.task("task-1.a") is None
    assert await till.ledger() == []
    assert await till.total() == (NOTHING, NOTHING, 0)


@pytest.mark.parametrize(
    ("limits", "field", "left"),
    [
        ({"money": 99}, "money", 99),
        ({"tokens": 9}, "tokens", 9),
        ({"requests": 0}, "requests", 0),
        ({"money": 100, "tokens": 10, "requests": 0}, "requests", 0),
    ],
)
async def test_money_tokens_and_requests_are_limited_each(
    stage: Stage, till: Till, limits: dict[str, Any], field: str, left: int
) -> None:
    await stage.store.put_budget(Budget("total", **limits))
    recorded = await till.reserve(await till.running(), "c", Amount(100, 10, 1))
    assert recorded.refused is not None
    assert (recorded.refused.short, recorded.refused.left) == (field, left)


async def test_a_call_without_a_price_has_no_room_in_a_budget_in_money(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("agent:echo", tokens=10))
    held = await till.running(owner="ann")
    assert await till.granted(held, "a", Amount(tokens=1), unpriced=True)
    await stage.store.put_budget(Budget("owner:ann", money=CENT, period=Period.DAY, at_limit=AtLimit.FALLBACK))
    refused = (await till.reserve(held, "b", Amount(tokens=1), unpriced=True)).refused
    expected = Refusal("b", "owner:ann", RefusalKind.BUDGET, START, None, "price", 0, Period.DAY, AtLimit.FALLBACK)
    assert refused == expected
    assert await till.granted(held, "b", Amount(tokens=1))


async def test_a_settlement_gives_back_what_was_not_used(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("total", money=CENT))
    held = await till.running()
    assert await till.granted(held, "a", Amount(CENT))
    assert not await till.granted(held, "b", Amount(1))
    await till.settle(held, "a", Amount(CENT - 5))
    assert await till.granted(held, "b", Amount(5))
    assert not await till.granted(held, "c", Amount(1))


async def test_what_is_unknown_stays_counted_until_somebody_settles_it(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("total", money=CENT))
    held = await till.running("task-1")
    assert await till.granted(held, "a", Amount(CENT))
    await stage.after(LEASE)
    other = await till.running()
    assert not await till.granted(other, "b", Amount(1))
    assert await till.use("total") == [("", Amount(CENT), NOTHING)]
    await stage.store.settle("task-1", [Settle("a", Amount(CENT - 1), attempt=1)])
    assert await till.granted(other, "b", Amount(1))


async def test_a_budget_that_is_overdrawn_refuses_and_says_that_nothing_is_left(stage: Stage, till: Till) -> None:
    await stage.store.put_budget(Budget("total", money=CENT))
    held = await till.running()
    assert await till.granted(held, "a", Amount(CENT))
    await till.settle(held, "a", Amount(2 * CENT))
    recorded = await till.reserve(held, "b", Amount(1))
    assert recorded.refused is not None
    assert recorded.refused.left == 0
    assert await till.use("total") == [("", Amount(2 * CENT), NOTHING)]


async def test_a_budget_counts_what_was_used_before_it_was_defined(stage: Stage, till: Till) -> None:
    held = await till.running()
    assert await till.granted(held, "a", Amount(CENT))
    await stage.store.put_budget(Budget("agent:echo", money=CENT))
    assert not await till.granted(held, "b", Amount(1))
    await stage.store.put_budget(Budget("agent:echo", money=CENT + 1))
    assert await till.granted(held, "b", Amount(1))
    assert await stage.store.drop_budget("agent:echo")
    assert not await stage.store.drop_budget("agent:echo")
    assert await till.granted(held, "c", Amount(CENT))


# -- levels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scope", ["task:root", "tree:root", "owner:ann", "agent:echo", "model:gpt", "total", "task:root.kid"]
)
async def test_each_level_is_looked_at_alone(stage: Stage, till: Till, scope: str) -> None:
    # Given a child of a task, and a budget on some level above it
    worker, lease = await till.running("root", owner="ann", agent="lead")
    await worker.record(lease, spawned=(spec("root.kid", owner="ann"),))
    kid = stage.worker("echo")
    held = kid, await kid.claim_one()
    await stage.store.put_budget(Budget(scope, tokens=10))
    # Then
    assert await till.granted(held, "a", Amount(tokens=7), model="gpt")
    recorded = await till.reserve(held, "b", Amount(tokens=4), model="gpt")
    assert recorded.refused is not None
    assert (recorded.refused.key, recorded.refused.left) == (scope, 3)
    assert await till.granted(held, "b", Amount(tokens=3), model="gpt")


@pytest.mark.parametrize("scope", ["task:other", "owner:bob", "agent:other", "model:other", "owner:an", "agent:echo2"])
async def test_what_belongs_elsewhere_is_no_limit(stage: Stage, till: Till, scope: str) -> None:
    await stage.add(spec("other", agent="idle"))
    held = await till.running("root", owner="ann")
    await stage.store.put_budget(Budget(scope, tokens=0))
    assert await till.granted(held, "a", Amount(tokens=7), model="gpt")


async def test_all_levels_need_room_and_the_nearest_is_named(stage: Stage, till: Till) -> None:
    held = await till.running("root", owner="ann")
    for scope in ("total", "agent:echo", "owner:ann", "tree:root", "task:root"):
        await stage.store.put_budget(Budget(scope, tokens=5))
        recorded = await till.reserve(held, "a", Amount(tokens=6))
        assert recorded.refused is not None
        assert recorded.refused.key == scope


async def test_the_budget_of_a_task_covers_what_is_below_it(stage: Stage, till: Till) -> None:
    # Given a root with a budget of 10, and a child with one of 6
    worker, lease = await till.running("root", agent="lead", budget=Budget(tokens=10, at_limit=AtLimit.FALLBACK))
    child = spec("root.kid", agent="kid", budget=Budget(tokens=6))
    await worker.record(lease, spawned=(child,))
    kid_worker = stage.worker("kid")
    kid = kid_worker, await kid_worker.claim_one()
    await kid_worker.record(kid[1], spawned=(spec("root.grandkid", agent="grandkid"),))
    grandkid_worker = stage.worker("grandkid")
    grandkid = grandkid_worker, await grandkid_worker.claim_one()
    # When the grandchild uses 5
    assert await till.granted(grandkid, "c", Amount(tokens=5))
    # Then there is 1 left below the child, and 5 in the tree
    refused = (await till.reserve(kid, "c", Amount(tokens=2))).refused
    assert refused is not None
    assert (refused.key, refused.left, refused.at_limit) == ("task:root.kid", 1, AtLimit.FAIL)
    refused = (await till.reserve((worker, lease), "c", Amount(tokens=6))).refused
    assert refused is not None
    assert (refused.key, refused.left, refused.at_limit) == ("task:root", 5, AtLimit.FALLBACK)
    assert await till.granted((worker, lease), "c", Amount(tokens=5))
    # And when a person raises the budget of the root, the child's still holds
    await stage.store.put_budget(Budget("task:root", tokens=100))
    refused = (await till.reserve(grandkid, "d", Amount(tokens=2))).refused
    assert refused is not None
    assert refused.key == "task:root.kid"


async def test_a_goal_and_its_nodes_have_budgets(stage: Stage, till: Till) -> None:
    goal = spec("goal-1", agent="", budget=Budget(tokens=10))
    await stage.add(Tree(goal, (spec("a", agent="a", budget=Budget(tokens=4)), spec("b", agent="b"))))
    first, second = stage.worker("a"), stage.worker("b")
    a, b = (first, await first.claim_one()), (second, await second.claim_one())
    assert not await till.granted(a, "c", Amount(tokens=5))
    assert await till.granted(a, "c", Amount(tokens=4))
    assert not await till.granted(b, "c", Amount(tokens=7))
    assert await till.granted(b, "c", Amount(tokens=6))


async def test_a_task_submitted_again_keeps_the_budget_that_it_has_now(stage: Stage) -> None:
    task = spec(budget=Budget(tokens=1))
    await stage.add(task)
    await stage.store.put_budget(Budget("task:task-1", tokens=9))
    await stage.submit(task)
    assert [use.budget for use in await stage.store.budgets()] == [Budget("task:task-1", tokens=9)]
    assert (await stage.task()).budget == Budget(tokens=1)


# -- listing and bad input ---------------------------------------------------------------------------------


async def test_budgets_are_listed_by_scope_and_period(stage: Stage) -> None:
    await stage.add(spec())
    given = [
        Budget("agent:b", tokens=1),
        Budget("owner:ann", tokens=1),
        Budget("owner:ann", tokens=2, period=Period.DAY),
        Budget("owner:ann", tokens=3, period=Period.MONTH, at_limit=AtLimit.PAUSE),
        Budget("owner:bob", money=2**52),
        Budget("task:task-1", requests=4),
        Budget("total", money=0),
    ]
    for budget in reversed(given):
        await stage.store.put_budget(budget)
    assert [use.budget for use in await stage.store.budgets()] == given
    assert [use.budget for use in await stage.store.budgets("owner:")] == given[1:5]
    assert [use.budget for use in await stage.store.budgets("owner:", limit=2)] == given[1:3]
    assert await stage.store.drop_budget("owner:ann", Period.DAY)
    assert [use.budget for use in await stage.store.budgets("owner:a")] == [given[1], given[3]]


@pytest.mark.parametrize(
    "fields",
    [
        {"scope": "ann", "money": 1},
        {"scope": "owner:", "money": 1},
        {"scope": "", "money": 1},
        {"scope": "owner:ann"},
        {"scope": "owner:ann", "money": -1},
        {"scope": "owner:ann", "tokens": 2**60},
        {"scope": "task:task-1", "money": 1, "period": Period.DAY},
        {"scope": "owner:a\nb", "money": 1},
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused(stage: Stage, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        await stage.store.put_budget(Budget(**fields))
    assert list(await stage.store.budgets()) == []


@pytest.mark.parametrize("scope", ["task:nobody", "tree:nobody", "tree:root.kid"])
async def test_a_budget_for_what_is_not_there_is_refused(stage: Stage, till: Till, scope: str) -> None:
    worker, lease = await till.running("root")
    await worker.record(lease, spawned=(spec("root.kid"),))
    with pytest.raises(NotFound):
        await stage.store.put_budget(Budget(scope, money=1))


@pytest.mark.parametrize("budget", [Budget("total", money=1), Budget(), Budget(money=1, period=Period.DAY)])
async def test_a_task_with_a_budget_that_makes_no_sense_is_refused(stage: Stage, budget: Budget) -> None:
    (answer,) = await stage.submit(spec(budget=budget))
    assert answer.verdict == "refused"
    assert "budget" in answer.detail
    await stage.add(spec("root"))
    worker = stage.worker()
    recorded = await worker.record(await worker.claim_one(), spawned=(spec("root.kid", budget=budget),))
    assert recorded.answer is Answer.INVALID
    assert await stage.state("root") is State.RUNNING
