"""Goals: edges and what they wait for, failures that are handled, outcomes, retries, and cancelling."""

from __future__ import annotations

import pytest

from tenuto.tasks.event import FINAL_EVENTS
from tenuto.tasks.goal import SKIPPED, Edge, Tree, When
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import Delivery, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tests.conformance.stage import LEASE, Stage, Worker, raw, spec

RETRY, CANCEL = SignalKind.RETRY, SignalKind.CANCEL


async def end(worker: Worker, **endings: str) -> None:
    """Claims what is ready, and ends it as told: done unless said otherwise."""
    while leases := await worker.claim(10):
        for lease in leases:
            await getattr(worker, endings.get(lease.task_id, "done"))(lease)


async def outcomes_told(stage: Stage, task_id: str = "goal-1") -> list[str]:
    return [event.kind.value for event in await stage.events(task_id) if event.kind in FINAL_EVENTS]


async def test_a_diamond_runs_in_the_order_of_its_edges(stage: Stage) -> None:
    await stage.add_goal("top left right bottom", "top>left", "top>right", "left>bottom", "right>bottom")
    worker = stage.worker()
    assert await worker.ids() == ["top"]
    assert await stage.states("left", "right", "bottom") == ["blocked"] * 3


async def test_a_node_is_ready_when_all_its_edges_are_met(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>c", "b>c")
    worker = stage.worker()
    a, b = await worker.claim(5)
    await worker.done(a)
    assert (await stage.state("c"), (await stage.task("c")).unmet) == (State.BLOCKED, 1)
    await worker.done(b)
    assert await stage.state("c") is State.READY
    assert await stage.kinds("c") == ["created", "ready"]
    assert await worker.run_all() == ["c"]
    goal = await stage.task("goal-1")
    assert (goal.state, goal.unmet) == (State.DONE, 0)
    assert await stage.kinds("goal-1") == ["created", "done"]


async def test_a_failure_skips_what_needs_it_and_fails_the_goal(stage: Stage) -> None:
    await stage.add_goal("a b c free", "a>b", "b>c")
    await end(stage.worker(), a="fail")
    assert await stage.states("a", "b", "c", "free", "goal-1") == ["failed", "cancelled", "cancelled", "done", "failed"]
    assert (await stage.task("b")).reason == f"{SKIPPED}a is failed"
    assert (await stage.task("c")).reason == f"{SKIPPED}b is cancelled"
    goal = await stage.task("goal-1")
    assert goal.reason == "node a failed: ValueError: boom"
    assert await outcomes_told(stage) == ["failed"]


async def test_a_failing_goal_lets_its_other_nodes_finish_first(stage: Stage) -> None:
    await stage.add_goal("a b c", "b>c")
    worker = stage.worker()
    a, b = await worker.claim(5)
    await worker.fail(a)
    assert await stage.states("goal-1", "b", "c") == ["waiting", "running", "blocked"]
    await worker.done(b)
    await end(worker)
    assert await stage.states("c", "goal-1") == ["done", "failed"]


@pytest.mark.parametrize(
    ("when", "ending", "state"),
    [
        (When.DONE, "done", "done"),
        (When.DONE, "fail", "cancelled"),
        (When.FAILED, "done", "cancelled"),
        (When.FAILED, "fail", "done"),
        (When.FINISHED, "done", "done"),
        (When.FINISHED, "fail", "done"),
    ],
)
async def test_an_edge_is_met_when_its_source_ends_as_it_says(
    stage: Stage, when: When, ending: str, state: str
) -> None:
    await stage.add_goal("a b", Edge("a", "b", when))
    await end(stage.worker(), a=ending)
    assert await stage.states("b") == [state]
    handled = ending == "done" or when is not When.DONE
    assert await stage.states("goal-1") == ["done" if handled else "failed"]


@pytest.mark.parametrize("what", ["lost", "retry", "release", "wait"])
async def test_the_end_of_an_attempt_is_not_the_end_of_its_node(stage: Stage, what: str) -> None:
    await stage.add_goal([spec("a"), spec("b", agent="later")], "a>b")
    await stage.add(spec("watcher", agent="watch"))
    watch = stage.worker("watch")
    await watch.wait(await watch.claim_one(), "task:a", "task:goal-1", need=1)
    worker = stage.worker()
    lease = await worker.claim_one()
    if what == "lost":
        await stage.after(LEASE)
    elif what == "wait":
        await worker.wait(lease, "event:go")
    else:
        await getattr(worker, what)(lease)
    assert await stage.states("b", "goal-1", "watcher") == ["blocked", "waiting", "waiting"]
    assert (await stage.task("goal-1")).unmet == 2
    assert (await stage.task("b")).unmet == 1


async def test_a_node_that_a_person_cancels_counts_as_not_done(stage: Stage) -> None:
    await stage.add_goal("a b after", "a>b", Edge("a", "after", When.FINISHED))
    await stage.signal(CANCEL, "a", reason="by ann")
    await end(stage.worker())
    assert await stage.states("a", "b", "after", "goal-1") == ["cancelled", "cancelled", "done", "done"]


async def test_a_goal_whose_node_a_person_cancelled_is_cancelled(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>b")
    await stage.signal(CANCEL, "a", reason="by ann")
    await end(stage.worker())
    assert await stage.states("b", "c", "goal-1") == ["cancelled", "done", "cancelled"]
    assert (await stage.task("goal-1")).reason == "node a was cancelled"


async def test_a_handler_that_fails_handles_nothing(stage: Stage) -> None:
    await stage.add_goal("a rescue", Edge("a", "rescue", When.FAILED))
    await end(stage.worker(), a="fail", rescue="fail")
    assert await stage.states("goal-1") == ["failed"]


async def test_a_skipped_branch_joins_again_behind_a_finished_edge(stage: Stage) -> None:
    await stage.add_goal("a b join", Edge("a", "b", When.FAILED), Edge("b", "join", When.FINISHED))
    await end(stage.worker())
    assert await stage.states("b", "join", "goal-1") == ["cancelled", "done", "done"]


async def test_cancelling_a_goal_ends_every_node(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>b", "b>c")
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("goal-1.child"),))
    await stage.signal(CANCEL, "goal-1", reason="enough")
    assert await stage.states("goal-1", "a", "b", "c", "goal-1.child") == ["cancelled"] * 5
    assert await outcomes_told(stage) == ["cancelled"]
    assert await worker.done(lease) == "stale"
    for node in "abc":
        assert await outcomes_told(stage, node) == ["cancelled"]


async def test_children_of_a_node_do_not_count_as_nodes(stage: Stage) -> None:
    await stage.add_goal("a")
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, spawned=(spec("goal-1.child"),))
    await worker.done(lease)
    assert await stage.states("goal-1", "goal-1.child") == ["done", "ready"]
    assert await worker.run_all() == ["goal-1.child"]
    goal = await stage.store.goal("goal-1")
    assert goal is not None
    assert await outcomes_told(stage) == ["done"]


# -- retry -------------------------------------------------------------------------------------------------


async def test_a_retry_goes_on_where_the_goal_failed(stage: Stage) -> None:
    await stage.add_goal("read write publish", "read>write", "write>publish")
    worker = stage.worker()
    await worker.done(await worker.claim_one())
    lease = await worker.claim_one()
    await worker.record(lease, Step("a", 0, value=raw(1)))
    await worker.fail(lease)
    assert (await stage.signal(RETRY, "goal-1")).delivery is Delivery.ACCEPTED
    assert await stage.states("goal-1", "read", "write", "publish") == ["waiting", "done", "ready", "blocked"]
    again = await worker.claim_one()
    assert (again.task_id, again.run, again.steps) == ("write", 2, 1)
    await worker.done(again)
    await end(worker)
    assert await stage.states("goal-1", "read", "write", "publish") == ["done"] * 4
    assert await outcomes_told(stage) == ["failed", "done"]
    assert await outcomes_told(stage, "read") == ["done"], "what is done stays done"
    assert (await stage.task("goal-1")).run == 2


async def test_a_retry_that_fails_again_is_told_again(stage: Stage) -> None:
    await stage.add_goal("a b", "a>b")
    worker = stage.worker()
    for run in (1, 2, 3):
        await end(worker, a="fail")
        assert await outcomes_told(stage) == ["failed"] * run
        assert (await stage.signal(RETRY, "goal-1")).delivery is Delivery.ACCEPTED
    await end(worker)
    assert await outcomes_told(stage) == ["failed"] * 3 + ["done"]
    assert await outcomes_told(stage, "b") == ["cancelled"] * 3 + ["done"]


async def test_a_retry_can_forget_the_journals_of_what_it_revives(stage: Stage) -> None:
    await stage.add_goal("a")
    worker = stage.worker()
    lease = await worker.claim_one()
    await worker.record(lease, Step("s", 0, value=raw(1)))
    await worker.fail(lease)
    await stage.signal(RETRY, "goal-1", data={"fresh": True})
    assert (await worker.claim_one()).steps == 0


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_goal_with_nothing_to_revive_refuses(stage: Stage, cancelled: bool) -> None:
    await stage.add_goal("a")
    if cancelled:
        await stage.signal(CANCEL, "a", reason="by ann")
    else:
        await stage.worker().run_all()
    delivered = await stage.signal(RETRY, "goal-1")
    assert (delivered.delivery, bool(delivered.detail)) == (Delivery.REFUSED, True)


async def test_a_cancelled_goal_can_be_retried(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>b", "b>c")
    worker = stage.worker()
    await worker.done(await worker.claim_one())
    await stage.signal(CANCEL, "goal-1")
    assert (await stage.signal(RETRY, "goal-1")).delivery is Delivery.ACCEPTED
    assert await worker.run_all() == ["b", "c"]
    assert await stage.state("goal-1") is State.DONE


async def test_nodes_that_a_person_cancelled_stay_cancelled(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>b")
    await stage.signal(CANCEL, "a", reason="by ann")
    await end(stage.worker(), c="fail")
    await stage.signal(RETRY, "goal-1")
    await end(stage.worker())
    assert await stage.states("a", "b", "c", "goal-1") == ["cancelled", "cancelled", "done", "cancelled"]


async def test_a_failed_node_of_a_running_goal_can_be_retried_alone(stage: Stage) -> None:
    await stage.add_goal("a b slow", "a>b")
    worker = stage.worker()
    a, slow = await worker.claim(2)
    await worker.fail(a)
    assert (await stage.signal(RETRY, "slow")).delivery is Delivery.REFUSED
    assert (await stage.signal(RETRY, "a")).delivery is Delivery.ACCEPTED
    assert await stage.states("a", "b", "goal-1") == ["ready", "blocked", "waiting"]
    await worker.done(slow)
    assert await stage.state("goal-1") is State.WAITING
    await end(worker)
    assert await stage.states("a", "b", "goal-1") == ["done"] * 3
    assert await outcomes_told(stage) == ["done"]


async def test_a_node_of_a_goal_that_has_ended_is_retried_through_its_goal(stage: Stage) -> None:
    await stage.add_goal("a")
    await end(stage.worker(), a="fail")
    delivered = await stage.signal(RETRY, "a")
    assert (delivered.delivery, "'goal-1'" in delivered.detail) == (Delivery.REFUSED, True)


async def test_an_edge_that_fired_is_not_fired_again(stage: Stage) -> None:
    """`after` ran because `a` failed; the retry of `a` does not run `after` a second time."""
    await stage.add_goal("a after b", Edge("a", "after", When.FINISHED), "a>b", "after>b")
    worker = stage.worker()
    await end(worker, a="fail", after="fail")
    await stage.signal(RETRY, "goal-1")
    await end(worker)
    assert await outcomes_told(stage, "after") == ["failed", "done"]
    assert await stage.states("a", "after", "b", "goal-1") == ["done"] * 4


async def test_a_retry_leaves_what_is_done_or_runs_exactly_as_it_is(stage: Stage) -> None:
    await stage.add_goal(
        [spec("a"), spec("done"), spec("runs", priority=-1), spec("free"), spec("open", priority=-2)],
        *(Edge("a", target, When.FINISHED) for target in ("done", "runs", "open")),
        "runs>open",
    )
    worker = stage.worker()
    first = {lease.task_id: lease for lease in await worker.claim(2)}
    await worker.fail(first["a"])
    await worker.done(first["free"])
    await worker.done(await worker.claim_one())
    assert (await worker.claim_one()).task_id == "runs"
    before = await stage.store.tasks_by_id(["done", "runs", "free"])
    assert (await stage.task("open")).unmet == 1
    assert (await stage.signal(RETRY, "a")).delivery is Delivery.ACCEPTED
    assert await stage.store.tasks_by_id(["done", "runs", "free"]) == before
    assert (await stage.task("open")).unmet == 2


async def test_a_blocked_node_waits_again_for_a_source_that_runs_again(stage: Stage) -> None:
    """`join` had one of its two edges met by the failure of `a`; `a` is retried before the other is met."""
    await stage.add_goal("a slow join", Edge("a", "join", When.FINISHED), "slow>join")
    worker = stage.worker()
    a, slow = await worker.claim(2)
    await worker.fail(a)
    assert (await stage.task("join")).unmet == 1
    await stage.signal(RETRY, "a")
    assert (await stage.task("join")).unmet == 2
    await worker.done(slow)
    assert await stage.state("join") is State.BLOCKED
    again = await worker.claim_one()
    await worker.done(again)
    assert await worker.run_all() == ["join"]
    assert await stage.state("goal-1") is State.DONE


# -- size --------------------------------------------------------------------------------------------------


async def test_a_long_chain_runs_and_a_long_chain_is_skipped(stage: Stage) -> None:
    names = [f"n{number}" for number in range(1_500)]
    edges = tuple(Edge(names[number], names[number + 1]) for number in range(len(names) - 1))
    for goal in ("goal-1", "goal-2"):
        await stage.add(Tree(TaskSpec(id=goal), tuple(spec(name) for name in names), edges))
    worker = stage.worker()
    first, second = await worker.claim(2)
    await worker.fail(first)
    assert await stage.state("goal-1") is State.FAILED
    assert (await stage.store.stats())[State.CANCELLED] == len(names) - 1
    await worker.done(second)
    lease = await worker.claim_one()
    assert (lease.root, lease.node) == ("goal-2", "n1")


async def test_a_wide_goal_joins(stage: Stage) -> None:
    names = [f"n{number}" for number in range(300)]
    edges = tuple(Edge(name, "join") for name in names)
    await stage.add(Tree(TaskSpec(id="goal-1"), (*(spec(name) for name in names), spec("join")), edges))
    worker = stage.worker()
    leases = await worker.claim(300)
    for lease in leases:
        await worker.done(lease)
    assert await worker.run_all() == ["join"]
    assert await stage.state("goal-1") is State.DONE
