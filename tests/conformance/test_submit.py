"""Submission: once per id or key, each tree whole or not at all, each answered for itself."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from tenuto.stores.base import TaskFilter, Verdict
from tenuto.tasks.goal import Edge, Tree, When
from tenuto.tasks.limits import Limit
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind, TaskSpec, Unique
from tests.conformance.stage import START, Stage, raw, spec, value

FULL = spec(
    owner="ann",
    payload=raw({"text": "a\x00b 名前", "n": 2**53, "deep": [[{}]]}),
    title="A title",
    priority=-7,
    band=3,
    run_at=START + 60_000,
    deadline=START + 600_000,
    attempt_timeout=5_000,
    timeout=50_000,
    retry=RetryPolicy(max_retries=2, base=10, factor=3.0, longest=500, jitter=0.25, fatal=("KeyError",)),
    idempotency_key="order-7",
    unique=Unique("report", (State.READY, State.RUNNING)),
    limits=("api", "db"),
    tags=("a", "b"),
    metadata={"trace": {"id": 1}, "list": [1, None, "x"]},
)


async def total(stage: Stage) -> int:
    return len((await stage.store.tasks(TaskFilter(), limit=1_000)).tasks)


async def test_everything_that_a_spec_says_comes_back(stage: Stage) -> None:
    await stage.add(FULL)
    task = await stage.task()
    for field in TaskSpec.__struct_fields__:
        if field != "payload":
            assert getattr(task, field) == getattr(FULL, field), field
    assert value(task.payload) == value(FULL.payload)
    assert (task.root, task.parent, task.kind, task.state) == ("task-1", None, Kind.TASK, State.SCHEDULED)
    assert (task.created_at, task.since, task.run, task.attempt, task.seq) == (START, START, 1, 0, 1)


async def test_a_new_task_is_ready_and_tells_so(stage: Stage) -> None:
    await stage.add(spec(owner="ann"))
    (event,) = await stage.events()
    assert (event.kind, event.seq, event.at, event.owner, event.data) == (
        "created",
        1,
        START,
        "ann",
        {"state": "ready"},
    )
    assert await stage.state() is State.READY


async def test_the_same_id_again_is_the_same_task(stage: Stage) -> None:
    await stage.add(FULL)
    again = replace(FULL, priority=9, run_at=None, deadline=None)
    (answer,) = await stage.submit(again)
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "task-1")
    assert (await stage.task()).priority == -7, "what is stored stays as it is"
    assert await stage.kinds() == ["created"]


@pytest.mark.parametrize(
    "change", [{"payload": raw(2)}, {"agent": "other"}, {"owner": "bob"}, {"tags": ("b",)}, {"timeout": 1}]
)
async def test_the_same_id_with_other_content_is_a_conflict(stage: Stage, change: dict[str, Any]) -> None:
    await stage.add(replace(FULL, idempotency_key=None, unique=None))
    before = await stage.task()
    (answer,) = await stage.submit(replace(FULL, idempotency_key=None, unique=None, **change))
    assert answer.verdict is Verdict.CONFLICT
    assert "'task-1'" in answer.detail
    assert await stage.task() == before


async def test_one_idempotency_key_is_one_task_for_each_owner(stage: Stage) -> None:
    await stage.add(spec("a", owner="ann", idempotency_key="k"))
    again, other, conflict = await stage.submit(
        spec("b", owner="ann", idempotency_key="k"),
        spec("c", owner="bob", idempotency_key="k"),
        spec("d", owner="ann", idempotency_key="k", payload=raw(1)),
    )
    assert (again.verdict, again.task_id) == (Verdict.EXISTING, "a")
    assert (other.verdict, other.task_id) == (Verdict.CREATED, "c")
    assert (conflict.verdict, conflict.task_id) == (Verdict.CONFLICT, "a")
    assert await stage.store.task("b") is None
    assert await stage.store.task("d") is None


async def test_an_idempotency_key_still_holds_when_its_task_has_ended(stage: Stage) -> None:
    await stage.add(spec("a", idempotency_key="k"))
    await stage.worker().run_all()
    (answer,) = await stage.submit(spec("b", idempotency_key="k"))
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "a")


async def test_a_unique_key_names_its_holder_whatever_the_content(stage: Stage) -> None:
    await stage.add(spec("a", unique=Unique("report")))
    (answer,) = await stage.submit(spec("b", agent="other", unique=Unique("report")))
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "a")
    await stage.worker().run_all()
    await stage.add(spec("b", agent="other", unique=Unique("report")))


async def test_a_unique_key_counts_only_in_the_states_it_names(stage: Stage) -> None:
    waiting = Unique("report", (State.READY, State.SCHEDULED))
    await stage.add(spec("a", unique=waiting))
    worker = stage.worker()
    await worker.claim_one()
    await stage.add(spec("b", unique=waiting))
    (answer,) = await stage.submit(spec("c", unique=waiting))
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "b")


async def test_a_unique_key_follows_its_task_through_its_states(stage: Stage) -> None:
    done_once = Unique("import", (State.DONE,))
    await stage.add(spec("a", unique=done_once), spec("b", unique=done_once))
    await stage.worker().run_all()
    (answer,) = await stage.submit(spec("c", unique=done_once))
    assert (answer.verdict, answer.task_id) == (Verdict.EXISTING, "a"), "the older holder"


async def test_in_a_batch_each_tree_is_answered_for_itself(stage: Stage) -> None:
    answers = await stage.submit(
        spec("a"),
        spec(""),
        spec("b", idempotency_key="k"),
        spec("c", idempotency_key="k"),
        spec("a"),
        spec("b2", unique=Unique("u")),
        spec("b3", unique=Unique("u")),
        spec("x.y"),
        Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n1"))),
        spec("d"),
    )
    assert [answer.verdict.value for answer in answers] == [
        "created",
        "refused",
        "created",
        "existing",
        "refused",
        "created",
        "existing",
        "refused",
        "refused",
        "created",
    ]
    assert [answer.task_id for answer in answers][3::3] == ["b", "b2", "d"]
    assert all(bool(answer.detail) == (answer.verdict is Verdict.REFUSED) for answer in answers)
    assert await total(stage) == 4


REFUSED = [
    Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n2")), (Edge("n1", "n2"), Edge("n2", "n1"))),
    Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n2")), (Edge("n1", "elsewhere"),)),
    Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n1"))),
    Tree(TaskSpec(id="goal-1"), (spec("n1"), TaskSpec(id="n2"))),
    Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n2", idempotency_key="k"))),
    Tree(TaskSpec(id="task-1")),
    Tree(spec(deadline=-5)),
    Tree(spec(priority=2**70)),
    Tree(spec("a\x00b")),
    Tree(spec(priority=1.5)),
    Tree(spec(timeout=0.5)),
    Tree(spec(run_at=1e9)),
    Tree(spec(metadata={"a": object()})),
    Tree(spec(metadata={"a": "\ud800"})),
]


@pytest.mark.parametrize("tree", REFUSED, ids=range(len(REFUSED)))
async def test_of_a_refused_tree_nothing_is_stored(stage: Stage, tree: Tree) -> None:
    key = "b" * 40
    (answer,) = await stage.submit(
        replace(
            tree,
            root=replace(tree.root, idempotency_key="once"),
            blobs={key: b'"large"'},
            limits=(Limit("api", concurrency=1),),
        )
    )
    assert answer.verdict is Verdict.REFUSED
    assert answer.detail
    assert "\n" not in answer.detail
    assert await total(stage) == 0
    assert list(await stage.store.limits()) == []
    assert (await stage.store.events()).events == ()
    assert await stage.blob(tree.root.id, key) is None
    await stage.add(spec("task-9", idempotency_key="once"))


async def test_a_conflict_stores_nothing_of_its_tree_either(stage: Stage) -> None:
    await stage.add(spec("task-1"))
    (answer,) = await stage.submit(
        Tree(spec("task-1", agent="other"), blobs={"b" * 40: b'"x"'}, limits=(Limit("api", concurrency=1),))
    )
    assert answer.verdict is Verdict.CONFLICT
    assert list(await stage.store.limits()) == []
    assert await stage.blob("task-1", "b" * 40) is None


async def test_a_goal_is_stored_with_its_nodes_and_edges(stage: Stage) -> None:
    edges = (Edge("n1", "n3"), Edge("n2", "n3", When.FINISHED))
    tree = Tree(TaskSpec(id="goal-1", title="All"), (spec("n1"), spec("n2"), spec("n3")), edges)
    (answer,) = await stage.submit(tree)
    assert (answer.verdict, answer.nodes) == (Verdict.CREATED, {"n1": "n1", "n2": "n2", "n3": "n3"})
    goal = await stage.store.goal("goal-1")
    assert goal is not None
    assert (goal.task.kind, goal.task.state, goal.task.unmet) == (Kind.GOAL, State.WAITING, 3)
    assert [node.node for node in goal.nodes] == ["n1", "n2", "n3"]
    assert goal.edges == edges
    assert {(node.root, node.parent) for node in goal.nodes} == {("goal-1", "goal-1")}
    assert await stage.states("n1", "n2", "n3") == ["ready", "ready", "blocked"]
    assert (await stage.task("n3")).unmet == 2


async def test_a_node_whose_id_is_taken_gets_one_under_its_goal(stage: Stage) -> None:
    await stage.add(spec("n1"))
    tree = Tree(
        TaskSpec(id="goal-1"), (spec("n1"), spec("n2"), spec("goal-1")), (Edge("n1", "n2"), Edge("n2", "goal-1"))
    )
    (answer,) = await stage.submit(tree)
    assert answer.nodes == {"n1": "goal-1.n1", "n2": "n2", "goal-1": "goal-1.goal-1"}
    assert (await stage.task("goal-1.n1")).node == "n1"
    assert await stage.worker().run_all() == ["n1", "goal-1.n1", "n2", "goal-1.goal-1"]
    assert await stage.state("goal-1") is State.DONE


async def test_the_same_goal_again_is_the_same_goal_also_when_it_has_run(stage: Stage) -> None:
    tree = Tree(TaskSpec(id="goal-1"), (spec("n1"), spec("n2")), (Edge("n1", "n2"),))
    await stage.add(tree)
    for _ in range(2):
        (same,) = await stage.submit(tree)
        assert (same.verdict, same.nodes) == (Verdict.EXISTING, {"n1": "n1", "n2": "n2"})
        await stage.worker().run_all()
    (other,) = await stage.submit(replace(tree, edges=()))
    (single,) = await stage.submit(spec("goal-1"))
    assert {other.verdict, single.verdict} == {Verdict.CONFLICT}


async def test_a_goal_may_have_an_idempotency_key(stage: Stage) -> None:
    tree = Tree(TaskSpec(id="goal-1", idempotency_key="k"), (spec("n1"),))
    await stage.add(tree)
    (answer,) = await stage.submit(replace(tree, root=replace(tree.root, id="goal-2")))
    assert (answer.verdict, answer.task_id, answer.nodes) == (Verdict.EXISTING, "goal-1", {"n1": "n1"})


async def test_a_goal_of_a_thousand_nodes_is_submitted_at_once(stage: Stage) -> None:
    names = [f"n{number}" for number in range(1_000)]
    edges = tuple(Edge(names[number // 2], names[number]) for number in range(1, 1_000))
    await stage.add(Tree(TaskSpec(id="goal-1"), tuple(spec(name) for name in names), edges))
    stats = await stage.store.stats()
    assert (stats[State.READY], stats[State.BLOCKED]) == (1, 999)


async def test_blobs_arrive_with_their_tree(stage: Stage) -> None:
    blobs = {"a" * 40: b'"\x00 large"', "c" * 40: b"[]"}
    await stage.add(Tree(spec(), blobs=blobs))
    for key, data in blobs.items():
        assert await stage.blob("task-1", key) == data
    assert await stage.blob("task-2", "a" * 40) is None


async def test_limits_arrive_with_their_tree_and_replace_what_differs(stage: Stage) -> None:
    await stage.add(Tree(spec("a"), limits=(Limit("api", concurrency=1),)))
    await stage.add(Tree(spec("b"), limits=(Limit("api", concurrency=2), Limit("db", rate=5))))
    assert [use.limit for use in await stage.store.limits()] == [Limit("api", concurrency=2), Limit("db", rate=5)]


async def test_many_clients_that_submit_the_same_create_it_once(stage: Stage) -> None:
    batches = await asyncio.gather(
        *(stage.submit(spec("same"), spec(f"own-{number}", idempotency_key="k")) for number in range(20))
    )
    for position, expected in ((0, "same"), (1, None)):
        verdicts = [batch[position].verdict for batch in batches]
        assert verdicts.count(Verdict.CREATED) == 1
        assert verdicts.count(Verdict.EXISTING) == 19
        assert len({batch[position].task_id for batch in batches}) == 1
        assert expected in (None, batches[0][position].task_id)
    assert await total(stage) == 2


async def test_a_cancelled_task_is_still_the_same_task(stage: Stage) -> None:
    await stage.add(spec())
    await stage.signal(SignalKind.CANCEL)
    (answer,) = await stage.submit(spec())
    assert answer.verdict is Verdict.EXISTING
    assert await stage.state() is State.CANCELLED


async def test_metadata_is_compared_as_it_is_stored(stage: Stage) -> None:
    await stage.add(spec(metadata={"pair": (1, 2), "by number": {1: 2}}))
    (answer,) = await stage.submit(spec(metadata={"pair": (1, 2), "by number": {1: 2}}))
    assert answer.verdict is Verdict.EXISTING
    (answer,) = await stage.submit(spec(metadata={"pair": (1, 3), "by number": {1: 2}}))
    assert answer.verdict is Verdict.CONFLICT


async def test_an_empty_batch_is_answered_with_nothing(stage: Stage) -> None:
    assert await stage.submit() == []
