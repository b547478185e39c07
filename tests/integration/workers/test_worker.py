"""The worker: what becomes of attempts, leases, time limits, cancellation, draining, and a store that fails."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from tenuto.agents.function import task_agent
from tenuto.errors import StoreFull, StoreUnavailable
from tenuto.stores.base import Claim, Exchange, Store, TimeToLive
from tenuto.tasks.lease import Lease
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Task, TaskSpec
from tenuto.workers import execution
from tenuto.workers.config import MaintenanceWorkerConfig, TaskTTLConfig, WorkerConfig
from tenuto.workers.context import Context
from tenuto.workers.loops import run
from tenuto.workers.maintenance import Sweeper
from tenuto.workers.worker import Worker, WorkerStuck
from tests.integration.workers.rig import CONFIG, LIMIT, Clock, ended, eventually, kinds, submit, until, working

QUICK = RetryPolicy(max_retries=2, base=1, longest=5)

gates: dict[str, asyncio.Event] = {}
seen: list[Any] = []
hold_threads = threading.Event()


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    gates.clear()
    seen.clear()
    hold_threads.clear()
    yield
    hold_threads.set()


class Point(msgspec.Struct):
    x: int
    y: int = 0


@task_agent
async def double(point: Point) -> Point:
    return Point(point.x * 2, point.y * 2)


@task_agent
def in_thread(value: str) -> str:
    return f"{value} in {threading.current_thread().name.partition('-')[0]}"


@task_agent(retry=QUICK)
async def fails(payload: str) -> None:
    seen.append(payload)
    raise ValueError(payload)


@task_agent
async def blocks(ctx: Context) -> str:
    """Runs until it is interrupted."""
    seen.append(("began", ctx.task_id))
    try:
        await gates.setdefault(ctx.task_id, asyncio.Event()).wait()
    except asyncio.CancelledError:
        seen.append(("interrupted", ctx.task_id))
        raise
    return "let go"


@task_agent
def blocks_thread() -> None:
    hold_threads.wait(2 * LIMIT)


def odd() -> object:
    """Returns what has no JSON form."""
    return object()


def running(task: Task) -> bool:
    return task.state is State.RUNNING


def value(task: Task) -> Any:
    return msgspec.json.decode(task.result or b"null")


async def test_functions_of_every_form_are_carried_out(store: Store) -> None:
    async with working(store, double, in_thread):
        ids = await submit(store, double.create_task(payload=Point(1, 2)), in_thread.create_task(payload="ran"))
        done = [await ended(store, task_id) for task_id in ids]
    assert value(done[0]) == {"x": 2, "y": 4}
    assert value(done[1]) == "ran in worker"


async def test_a_large_payload_and_a_large_result_are_stored_apart(store: Store) -> None:
    from tenuto.plans.builder import tree_of
    from tenuto.stores import large

    @task_agent
    async def echo(text: str) -> str:
        return text + "!"

    text = "x" * 50_000
    async with working(store, echo):
        (answer,) = await store.submit([tree_of(echo.create_task(payload=text))])
        task = await ended(store, answer.task_id)
    assert await large.result_of(store, task) == text + "!"


async def test_a_failing_task_is_retried_and_then_failed(store: Store) -> None:
    async with working(store, fails):
        (task_id,) = await submit(store, fails.create_task(payload="no"))
        task = await ended(store, task_id)
    assert task.state is State.FAILED
    assert seen == ["no"] * 3
    assert task.error is not None
    assert (task.error.type, task.error.message, task.error.attempt) == ("ValueError", "no", 3)
    assert "raise ValueError(payload)" in task.error.traceback


async def test_a_task_that_says_nothing_is_retried_as_its_agent_says(store: Store) -> None:
    # Given a task that was submitted by the name of its agent, and one that has a policy of its own
    async with working(store, fails):
        ids = await submit(
            store,
            TaskSpec(id="by-name", agent="fails", payload=msgspec.Raw(b'"a"')),
            fails.create_task(id="own", payload="b", max_retries=0),
        )
        for task_id in ids:
            await ended(store, task_id)
    # Then the first had the retries of its agent, and the second its own
    assert seen.count("a") == 3
    assert seen.count("b") == 1


@pytest.mark.parametrize(
    ("agent", "payload", "kind"),
    [
        (double, "text", "InvalidPayload"),
        (task_agent(name="odd")(odd), None, "Unstorable"),
    ],
)
async def test_what_cannot_get_better_is_not_retried(store: Store, agent: Any, payload: Any, kind: str) -> None:
    async with working(store, agent):
        (task_id,) = await submit(store, agent.create_task(payload=payload))
        task = await ended(store, task_id)
    assert task.state is State.FAILED
    assert task.attempt == 1
    assert task.error is not None
    assert task.error.type == kind


async def test_a_system_exit_is_a_failure_and_no_end_of_the_worker(store: Store) -> None:
    @task_agent(max_retries=0)
    async def leaves() -> None:
        raise SystemExit(3)

    async with working(store, leaves, double):
        first, second = await submit(store, leaves.create_task(), double.create_task(payload=Point(1)))
        assert (await ended(store, first)).state is State.FAILED
        assert (await ended(store, second)).state is State.DONE


async def test_an_attempt_that_takes_too_long_is_stopped(store: Store) -> None:
    async with working(store, blocks):
        (task_id,) = await submit(store, blocks.create_task(attempt_timeout=0.05, max_retries=0))
        task = await ended(store, task_id)
    assert task.error is not None
    assert task.error.type == "TimeLimit"
    assert seen == [("began", task_id), ("interrupted", task_id)]


@pytest.mark.parametrize("kind", ["Deadline", "TimeLimit"])
async def test_deadline_and_total_time_limit_end_a_running_task(store: Store, kind: str) -> None:
    async with working(store, blocks):
        limits: dict[str, Any] = {"timeout": 1.5} if kind == "TimeLimit" else {"deadline": time.time() + 1.5}
        (task_id,) = await submit(store, blocks.create_task(**limits))
        task = await ended(store, task_id)
        await eventually(lambda: true(lambda: ("interrupted", task_id) in seen))
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == kind


async def true(what: Callable[[], bool]) -> bool:
    return what()


async def test_a_cancel_interrupts_at_once_and_frees_the_slot(store: Store) -> None:
    # Given a worker whose only slot is taken, and which renews rarely
    config = WorkerConfig(concurrency=1, lease=60, grace=1, poll=60)
    async with working(store, blocks, double, config=config):
        first, second = await submit(store, blocks.create_task(), double.create_task(payload=Point(2)))
        await until(store, first, running)

        # When the task is cancelled
        await store.signal([Signal(first, SignalKind.CANCEL, reason="enough")])

        # Then it is interrupted and the next one runs, before any renewal or poll
        await ended(store, second)
        assert ("interrupted", first) in seen
        cancelled = await until(store, first, lambda task: task.lease_until is None)
        assert cancelled.state is State.CANCELLED


async def test_a_paused_task_stops_at_its_next_step(store: Store) -> None:
    @task_agent
    async def steps(ctx: Context) -> int:
        for number in range(1_000):
            await ctx.step(f"s{number}", asyncio.sleep, 0.001)
        return 1_000

    async with working(store, steps):
        (task_id,) = await submit(store, steps.create_task())
        await until(store, task_id, lambda task: task.steps > 3)
        await store.signal([Signal(task_id, SignalKind.PAUSE, reason="look")])
        task = await until(store, task_id, lambda task: task.state is State.READY)
        assert task.paused
        recorded = task.steps
        await store.signal([Signal(task_id, SignalKind.RESUME)])
        await until(store, task_id, lambda task: task.steps > recorded)
        await store.signal([Signal(task_id, SignalKind.CANCEL)])


async def test_a_slow_task_does_not_hold_back_fast_ones(store: Store) -> None:
    config = WorkerConfig(concurrency=2, grace=0.2, poll=5)
    async with working(store, blocks, double, config=config):
        (slow,) = await submit(store, blocks.create_task())
        await until(store, slow, running)
        ids = await submit(store, *(double.create_task(payload=Point(n)) for n in range(200)))
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE
        gates[slow].set()
        assert value(await ended(store, slow)) == "let go"


async def test_an_idle_worker_starts_a_task_at_once(store: Store) -> None:
    config = WorkerConfig(poll=60, grace=0.2)  # longer than is waited for a task's end here
    async with working(store, double, config=config):
        (warm,) = await submit(store, double.create_task(payload=Point(1)))
        await ended(store, warm)
        (task_id,) = await submit(store, double.create_task(payload=Point(1)))
        await ended(store, task_id)


async def test_a_draining_worker_hands_back_what_it_cannot_finish(store: Store) -> None:
    # Given a worker with one task that ends in time and one that does not, and more tasks that wait
    config = WorkerConfig(concurrency=2, grace=2, lease=60)
    worker = Worker(store, [blocks], config)
    work = asyncio.create_task(worker.run())
    ids = await submit(store, *(blocks.create_task() for _ in range(2)))
    for task_id in ids:
        await until(store, task_id, running)
    (third,) = await submit(store, blocks.create_task())

    # When it is drained
    worker.drain()
    gates[ids[0]].set()

    # Then it is gone behind the grace time, before any lease ends; one task is done, the others wait for another worker
    await asyncio.wait_for(work, LIMIT / 2)
    assert (await ended(store, ids[0])).state is State.DONE
    for task_id in (ids[1], third):
        task = await store.task(task_id)
        assert task is not None
        assert task.state is State.READY
        assert (task.losses, task.failures) == (0, 0)
    assert not await store.workers()


async def test_a_cancelled_worker_hands_its_tasks_back(store: Store) -> None:
    work = asyncio.create_task(Worker(store, [blocks], CONFIG).run())
    (task_id,) = await submit(store, blocks.create_task())
    await until(store, task_id, running)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert (await kinds(store, task_id))[-1] == "released"
    assert not await store.workers()


async def test_a_task_lost_twice_runs_alone(store: Store, clock: Clock) -> None:
    # Given a task whose workers vanished twice, and others beside it
    alongside: list[int] = []

    @task_agent
    async def busy_now(ctx: Context) -> int:
        alongside.append(worker.busy)
        await asyncio.sleep(0.01)
        alongside.append(worker.busy)
        return 1

    suspect, *_ = ids = await submit(store, *(busy_now.create_task(priority=5 - n) for n in range(5)))
    for number in range(2):
        lost = Exchange(f"lost-{number}", 1, (), Claim(("busy_now",), 1, 1_000))
        assert (await store.commit_and_claim(lost)).leases[0].task_id == suspect
        clock.forward(2)
        await store.sweep(100, TimeToLive())

    # When a worker takes them all
    async with working(store, busy_now) as worker:
        for task_id in ids:
            await ended(store, task_id)

    # Then it was alone while it ran
    assert alongside.count(1) >= 2


async def test_a_suspect_does_not_wait_for_ever_for_what_runs_beside_it(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenuto.workers.slots._COURTESY", 0.1)
    (suspect,) = await submit(store, double.create_task(payload=Point(1)))
    for number in range(2):
        lost = Exchange(f"lost-{number}", 1, (), Claim(("double",), 1, 1_000))
        assert (await store.commit_and_claim(lost)).leases
        clock.forward(2)
        await store.sweep(100, TimeToLive())
    await store.signal([Signal(suspect, SignalKind.PAUSE)])
    async with working(store, double, blocks):
        # Given a task that runs for long
        (long,) = await submit(store, blocks.create_task())
        await until(store, long, running)
        # When a task comes whose workers vanished twice
        await store.signal([Signal(suspect, SignalKind.RESUME)])
        # Then it is run all the same, and so is what comes after it
        assert (await ended(store, suspect)).state is State.DONE
        (after,) = await submit(store, double.create_task(payload=Point(2)))
        assert (await ended(store, after)).state is State.DONE
        assert (await until(store, long, running)).attempt == 1


async def test_a_call_that_outlives_its_lease_gives_its_slot_back_when_its_task_came_again(
    store: Store, clock: Clock
) -> None:
    # Given a task whose call does not react to being stopped, and whose lease was lost
    returns = asyncio.Event()

    @task_agent
    async def stubborn(ctx: Context) -> int:
        while ctx.attempt == 1 and not returns.is_set():
            try:
                await returns.wait()
            except asyncio.CancelledError:
                seen.append("stopped")
        return ctx.attempt

    async with working(store, stubborn, config=replace(CONFIG, lease=1.0)) as worker:
        (task_id,) = await submit(store, stubborn.create_task())
        await until(store, task_id, running)
        clock.forward(60)
        # When the same worker runs it again
        task = await ended(store, task_id)
        assert (task.attempt, value(task)) == (2, 2)
        # Then the old call's slot is written off, until the call returns
        await eventually(lambda: true(lambda: worker.busy == 0))
        returns.set()
    assert seen


async def test_a_worker_that_cannot_renew_stops_before_the_lease_ends(store: Store) -> None:
    # Given a store that answers no renewal
    class Mute:
        claimed = 0.0

        def __getattr__(self, name: str) -> Any:
            return getattr(store, name)

        async def commit_and_claim(self, exchange: Exchange) -> Any:
            sent = time.monotonic()
            answer = await store.commit_and_claim(exchange)
            self.claimed = sent if answer.leases else self.claimed
            return answer

        async def renew(self, *args: Any) -> Any:
            raise StoreUnavailable("no route")

    @task_agent
    async def notes_its_end() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(time.monotonic())
            raise

    mute: Any = Mute()
    # When its lease comes to its end
    async with working(mute, notes_its_end, config=WorkerConfig(lease=10, grace=0.2, maintenance=None)):
        await submit(store, notes_its_end.create_task())
        await eventually(lambda: true(lambda: bool(seen)))
    # Then it has stopped before that
    assert seen[0] - mute.claimed < 10


async def test_who_lost_the_lease_does_not_wait_for_what_is_on_its_way_to_the_store(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker that gives no attempt up, and a store that answers neither records nor renewals
    monkeypatch.setattr(execution, "_STUBBORN", 3600)
    sent = asyncio.Event()

    class Silent:
        def __getattr__(self, name: str) -> Any:
            return self.silence if name in ("record", "renew") else getattr(store, name)

        async def silence(self, given: Any, *_: Any) -> Any:
            if isinstance(given, list):
                sent.set()
            await asyncio.Event().wait()

    @task_agent
    async def records(ctx: Context) -> str:
        return str(await ctx.step("s", lambda: "x"))

    # When the lease ends while a record is on its way
    async with working(Silent(), records, config=WorkerConfig(lease=2, grace=0.2, maintenance=None)) as worker:
        await submit(store, records.create_task())
        async with asyncio.timeout(LIMIT):
            await sent.wait()
        # Then the slot is free again
        await eventually(lambda: true(lambda: worker.busy == 0))


async def test_nothing_is_lost_while_the_store_has_no_room(store: Store) -> None:
    # Given a store that refuses, and loses answers, for a while
    failures = 0

    class Full:
        def __getattr__(self, name: str) -> Any:
            return self.commit_and_claim if name == "commit_and_claim" else getattr(store, name)

        async def commit_and_claim(self, exchange: Any) -> Any:
            nonlocal failures
            failures += 1
            if failures % 3 == 1:
                raise StoreFull("no room")
            answer = await store.commit_and_claim(exchange)
            if failures % 3 == 2:
                raise StoreUnavailable("the answer was lost")
            return answer

    ids = await submit(store, *(double.create_task(payload=Point(n)) for n in range(30)))
    async with working(Full(), double):
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE
            assert (await kinds(store, task_id)).count("started") == 1


async def test_a_worker_waits_for_a_store_that_is_not_there_yet(store: Store) -> None:
    tries = 0

    class Late:
        def __getattr__(self, name: str) -> Any:
            return self.open if name == "open" else getattr(store, name)

        async def open(self, *, create: bool = True) -> None:
            nonlocal tries
            tries += 1
            if tries < 4:
                raise StoreUnavailable("not yet")
            await store.open(create=create)

    async with working(Late(), double):
        (task_id,) = await submit(store, double.create_task(payload=Point(1)))
        assert (await ended(store, task_id)).state is State.DONE
    assert tries == 4


async def test_a_worker_full_of_abandoned_threads_ends(store: Store) -> None:
    config = WorkerConfig(concurrency=2, grace=0.5, poll=0.05)
    worker = Worker(store, [blocks_thread], config)
    work = asyncio.create_task(worker.run())
    await submit(store, blocks_thread.create_task(attempt_timeout=1.0, max_retries=0))  # its thread has begun by then
    with pytest.raises(WorkerStuck, match="1 of its 2 slots"):
        await work


async def test_a_worker_outlives_stopped_calls_that_return_in_a_moment(store: Store) -> None:
    returns = threading.Event()

    @task_agent
    def slow() -> None:
        returns.wait(2 * LIMIT)

    async with working(store, slow, double, config=WorkerConfig(concurrency=2, poll=0.05)):
        # Given a call that was stopped, and takes half of the slots.
        (task_id,) = await submit(store, slow.create_task(attempt_timeout=1.0, max_retries=0))
        assert (await ended(store, task_id)).state is State.FAILED
        # When it returns at last, the worker is as good as new.
        returns.set()
        (task_id,) = await submit(store, double.create_task(payload=Point(1)))
        assert (await ended(store, task_id)).state is State.DONE


async def test_any_handler_can_be_run(store: Store) -> None:
    class Plain:
        """A handler that is no function."""

        name = "plain"
        version = ""

        async def handle(self, context: Context, lease: Lease) -> int:
            return lease.attempt

    from tenuto.tasks.ids import new_id
    from tenuto.tasks.task import TaskSpec

    async with working(store, Plain()):
        (task_id,) = await submit(store, TaskSpec(id=new_id(), agent="plain"))
        assert value(await ended(store, task_id)) == 1


async def test_a_keyboard_interrupt_hands_the_task_back_and_ends_the_worker(store: Store) -> None:
    @task_agent
    async def interrupted() -> None:
        raise KeyboardInterrupt

    (task_id,) = await submit(store, interrupted.create_task())
    with ThreadPoolExecutor(1) as thread:  # where it ends the loop of the worker, and not that of the tests
        ended_by = thread.submit(lambda: run(Worker(store, [interrupted], CONFIG).run()))
        assert isinstance(await asyncio.to_thread(ended_by.exception, LIMIT), KeyboardInterrupt)
    assert (await kinds(store, task_id))[-1] == "released"


async def test_a_keyboard_interrupt_of_the_tasks_own_making_is_a_failure(store: Store) -> None:
    @task_agent(max_retries=0)
    def in_a_thread() -> None:
        raise KeyboardInterrupt

    @task_agent(max_retries=0)
    async def where_ctrl_c_is_ignored() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a worker process does
        raise KeyboardInterrupt

    before = signal.getsignal(signal.SIGINT)
    try:
        async with working(store, in_a_thread, where_ctrl_c_is_ignored):
            for agent in (in_a_thread, where_ctrl_c_is_ignored):
                (task_id,) = await submit(store, agent.create_task())
                assert (await ended(store, task_id)).state is State.FAILED
    finally:
        signal.signal(signal.SIGINT, before)


async def test_a_sweeper_by_itself_meets_timers_and_removes_old_trees(store: Store, clock: Clock) -> None:
    # Given a store in which nobody works, with a task that is due in an hour and one that ended
    changes: list[int] = []
    late, old = await submit(store, double.create_task(payload=Point(1), delay=3600), double.create_task())
    await store.signal([Signal(old, SignalKind.CANCEL)])
    ttl = TaskTTLConfig(cancelled_ttl=60)
    sweeper = Sweeper(store, MaintenanceWorkerConfig(interval=0.02, task_ttl=ttl), changed=lambda: changes.append(1))
    sweeping = asyncio.create_task(sweeper.run())

    # When the hour is over
    clock.forward(3601)

    # Then the one is ready and the other is gone
    await until(store, late, lambda task: task.state is State.READY)
    await eventually(lambda: missing(store, old))
    assert changes
    sweeping.cancel()
    await asyncio.gather(sweeping, return_exceptions=True)


async def test_a_store_whose_clock_is_far_ahead_is_told(
    store: Store, clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    clock.forward(7200)
    async with working(store, double):
        (task_id,) = await submit(store, double.create_task(payload=Point(1)))
        await ended(store, task_id)
    assert capsys.readouterr().err.count("stands still until this machine's clock has caught up") == 1


async def missing(store: Store, task_id: str) -> bool:
    return await store.task(task_id) is None


async def test_an_agents_own_limit_holds_over_all_workers(store: Store) -> None:
    now, most = 0, 0

    @task_agent(concurrency=2)
    async def narrow() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1

    async with working(store, narrow), working(store, narrow):
        ids = await submit(store, *(narrow.create_task() for _ in range(20)))
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE
    assert most == 2
