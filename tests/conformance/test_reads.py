"""Reading: lists with filters and pages, agents, workers, counts, and why a task does not run."""

from __future__ import annotations

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import AgentLoad, TaskFilter, WorkerInfo
from tenuto.tasks.outcome import Step
from tenuto.tasks.signal import SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Kind
from tests.conformance.stage import LEASE, START, Stage, raw, spec


async def listed(stage: Stage, limit: int = 100, **where: object) -> list[str]:
    found: list[str] = []
    cursor = None
    while True:
        page = await stage.store.tasks(TaskFilter(**where), cursor, limit)  # type: ignore[arg-type]  # filters by name
        found += [task.id for task in page.tasks]
        assert len(page.tasks) <= limit
        if page.cursor is None:
            return found
        cursor = page.cursor


async def some(stage: Stage) -> None:
    await stage.add(
        spec("a", owner="ann", tags=("x", "y")),
        spec("b", owner="bob", agent="read", tags=("y",)),
        spec("c", owner="ann", run_at=START + 100),
    )
    await stage.add_goal([spec("n1", owner="bob"), spec("n2", tags=("x",))], "n1>n2", owner="ann")
    worker = stage.worker()
    leases = {lease.task_id: lease for lease in await worker.claim(10)}
    await worker.record(leases["a"], spawned=(spec("a.child", owner="cid"),))
    await worker.done(leases["n1"])


async def test_a_list_shows_the_newest_first(stage: Stage) -> None:
    await some(stage)
    assert await listed(stage) == ["a.child", "n2", "n1", "goal-1", "c", "b", "a"]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_of_any_size_show_the_same_list(stage: Stage, limit: int) -> None:
    await some(stage)
    assert await listed(stage, limit) == await listed(stage)


async def test_a_list_can_be_narrowed_down(stage: Stage) -> None:
    await some(stage)
    for limit in (1, 2, 100):
        assert await listed(stage, limit, owner="ann") == ["goal-1", "c", "a"]
        assert await listed(stage, limit, owner="") == ["n2"]
        assert await listed(stage, limit, agent="read") == ["b"]
        assert await listed(stage, limit, tag="y") == ["b", "a"]
        assert await listed(stage, limit, tag="x") == ["n2", "a"]
        assert await listed(stage, limit, root="goal-1") == ["n2", "n1", "goal-1"]
        assert await listed(stage, limit, parent="a") == ["a.child"]
        assert await listed(stage, limit, kind=Kind.GOAL) == ["goal-1"]
        assert await listed(stage, limit, roots_only=True) == ["goal-1", "c", "b", "a"]
        assert await listed(stage, limit, states=(State.RUNNING, State.SCHEDULED)) == ["c", "a"]
        assert await listed(stage, limit, states=(State.DONE,)) == ["n1"]
        assert await listed(stage, limit, states=(State.READY,), owner="bob", tag="y") == ["b"]
        assert await listed(stage, limit, tag="z") == []
        assert await listed(stage, limit, owner="ann", agent="read") == []


async def test_a_list_that_is_read_while_tasks_arrive_shows_the_old_ones_once(stage: Stage) -> None:
    await stage.add(*(spec(f"t{number}") for number in range(10)))
    first = await stage.store.tasks(TaskFilter(), limit=4)
    await stage.add(*(spec(f"new{number}") for number in range(5)))
    rest = await stage.store.tasks(TaskFilter(), first.cursor, limit=100)
    assert [task.id for task in (*first.tasks, *rest.tasks)] == [f"t{number}" for number in reversed(range(10))]


async def test_a_page_that_ends_exactly_has_no_next(stage: Stage) -> None:
    await stage.add(*(spec(f"t{number}") for number in range(4)))
    page = await stage.store.tasks(TaskFilter(), limit=4)
    assert (len(page.tasks), page.cursor) == (4, None)


@pytest.mark.parametrize("cursor", ["", "x", "-1", "1e3", "9" * 30])
async def test_what_is_no_cursor_is_refused(stage: Stage, cursor: str) -> None:
    with pytest.raises(InvalidInput, match="cursor"):
        await stage.store.tasks(TaskFilter(), cursor)


async def test_tasks_are_found_by_their_ids(stage: Stage) -> None:
    await some(stage)
    found = await stage.store.tasks_by_id(["n1", "nobody", "a", "n1"])
    assert list(found) == ["n1", "a"]
    assert found["a"] == await stage.task("a")
    assert await stage.store.tasks_by_id([]) == {}


async def test_a_task_and_a_goal_that_are_unknown(stage: Stage) -> None:
    await stage.add(spec())
    assert await stage.store.task("nobody") is None
    assert await stage.store.goal("nobody") is None
    assert await stage.store.goal("task-1") is None
    assert await stage.store.why("nobody") is None


async def test_the_counts_of_all_states(stage: Stage) -> None:
    assert await stage.store.stats() == dict.fromkeys(State, 0)
    await some(stage)
    assert await stage.store.stats() == {
        State.BLOCKED: 0,
        State.READY: 3,
        State.SCHEDULED: 1,
        State.RUNNING: 1,
        State.WAITING: 0,
        State.DONE: 1,
        State.FAILED: 0,
        State.CANCELLED: 0,
    }


async def test_agents_are_listed_with_what_waits_for_them(stage: Stage) -> None:
    await some(stage)
    await stage.signal(SignalKind.PAUSE, "n2")
    reader = stage.worker("read", "idle")
    await reader.renew()
    assert list(await stage.store.agents()) == [
        AgentLoad("echo", ready=1, running=1, other=2, workers=0),
        AgentLoad("idle", ready=0, running=0, other=0, workers=1),
        AgentLoad("read", ready=1, running=0, other=0, workers=1),
    ]


async def test_workers_are_seen_for_a_minute(stage: Stage) -> None:
    first, second = stage.worker("a", "b"), stage.worker("c")
    await first.renew()
    stage.clock.move(30_000)
    await second.renew()
    assert [(info.id, info.agents, info.seen_at - START) for info in await stage.store.workers()] == [
        (first.name, ("a", "b"), 0),
        (second.name, ("c",), 30_000),
    ]
    stage.clock.move(30_001)
    assert [info.id for info in await stage.store.workers()] == [second.name]
    assert [load.agent for load in await stage.store.agents()] == ["c"]


async def test_a_worker_that_has_left_is_live_no_more(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.renew()
    assert [info.id for info in await stage.store.workers()] == [worker.name]
    await stage.store.renew(WorkerInfo(worker.name, worker.agents), (), LEASE)
    assert not await stage.store.workers()
    assert (await why(stage))[0] == "No live worker serves the agent 'echo': start one."


# -- why ---------------------------------------------------------------------------------------------------


async def why(stage: Stage, task_id: str = "task-1") -> tuple[str, int | None]:
    found = await stage.store.why(task_id)
    assert found is not None
    assert (found.task_id, found.state) == (task_id, await stage.state(task_id))
    return found.because[0], found.until


async def test_why_a_ready_task_does_not_run(stage: Stage) -> None:
    await stage.add(spec())
    assert await why(stage) == ("No live worker serves the agent 'echo': start one.", None)
    await stage.worker().renew()
    sentence, _ = await why(stage)
    assert sentence.startswith("It waits for a free slot of the worker of 'echo'")


async def test_why_a_task_waits_for_others(stage: Stage) -> None:
    await stage.add_goal("a b c", "a>c", "b>c")
    assert (await why(stage, "c"))[0] == "It depends on a (ready), b (ready)."
    worker = stage.worker()
    await worker.done(await worker.claim_one())
    assert (await why(stage, "c"))[0] == "It depends on b (ready)."
    assert (await why(stage, "goal-1"))[0] == "It waits for 2 of its nodes: b (ready), c (blocked)."


async def test_why_a_task_waits_for_its_time(stage: Stage) -> None:
    await stage.add(spec(run_at=START + 5_000))
    assert await why(stage) == ("It is scheduled for 2025-06-15T15:06:45Z.", START + 5_000)


async def test_why_a_paused_task_does_not_run(stage: Stage) -> None:
    await stage.add(spec())
    await stage.signal(SignalKind.PAUSE, reason="by ann")
    assert (await why(stage))[0] == "It is paused (by ann): resume it."


async def test_why_a_task_is_held_back_by_a_limit(stage: Stage) -> None:
    await stage.limit("db", concurrency=1)
    await stage.limit("api", rate=1, period=60_000)
    await stage.add(*(spec(f"d{number}", limits=("db",)) for number in range(2)))
    await stage.add(*(spec(f"r{number}", limits=("api",)) for number in range(2)))
    worker = stage.worker()
    await worker.claim(10)
    assert (await why(stage, "d1"))[0] == "The limit 'db' allows 1 at once, and 1 run now."
    assert (await why(stage, "r1"))[0] == "The limit 'api' allows the next one at 2025-06-15T15:07:40Z."


async def test_why_a_running_and_a_waiting_task_take_their_time(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    lease = await worker.claim_one()
    sentence, until = await why(stage)
    assert sentence == "It is running: attempt 1 on worker worker-1, held until 2025-06-15T15:07:10Z."
    assert until == START + LEASE
    await worker.record(lease, Step("a", 0, value=raw(1)))
    await worker.wait(lease, "event:go", until=START + 60_000)
    assert await why(stage) == (
        "It waits for the event 'go', at the latest until 2025-06-15T15:07:40Z.",
        START + 60_000,
    )


async def test_why_a_finished_task_does_not_run(stage: Stage) -> None:
    await stage.add(spec())
    worker = stage.worker()
    await worker.fail(await worker.claim_one())
    assert await why(stage) == ("It failed: ValueError: boom.", None)
