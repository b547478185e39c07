"""The verbs of the context: what is recorded, what is replayed, what is refused."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenuto.agents.function import FunctionAgent, task_agent
from tenuto.errors import InvalidInput, WaitTimeout
from tenuto.stores.base import Claim, Exchange, Store
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.outcome import Ending, Outcome, Record, Step, StepState
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.context import ChildResult, Context
from tests.conformance.engines import ENGINES
from tests.integration.workers.rig import Clock, ended, kinds, submit, until, waits, working

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


def count(name: str, value: Any = None) -> Any:
    ran[name] += 1
    return value


def value(task: Task) -> Any:
    assert task.state is State.DONE, task.error or task.reason
    return msgspec.json.decode(task.result or b"null")


async def interrupted(store: Store, agent: FunctionAgent[..., Any], *steps: Step) -> str:
    """A task of `agent` that has recorded `steps` and was then handed back by its worker."""
    (task_id,) = await submit(store, agent.create_task())
    claimed = await store.commit_and_claim(Exchange(f"first-{task_id}", 1, (), Claim((agent.name,), 1, 10_000)))
    (lease,) = claimed.leases
    await store.record([Record(lease.hold, steps)], 10_000)
    await store.commit_and_claim(Exchange(f"first-{task_id}", 2, (Outcome(lease.hold, Ending.RELEASE),)))
    return task_id


def step(key: str, position: int, result: Any = None) -> Step:
    return Step(key, position, value=msgspec.Raw(msgspec.json.encode(result)))


async def paused(store: Store, task_id: str) -> Task:
    return await until(store, task_id, lambda task: task.paused and task.state is State.READY)


# -- replay ------------------------------------------------------------------------------------------------


@task_agent
async def two(ctx: Context) -> list[Any]:
    return [await ctx.step("a", count, "a", 1), await ctx.step("b", count, "b", 2)]


async def test_recorded_steps_answer_and_the_rest_runs(store: Store) -> None:
    task_id = await interrupted(store, two, step("a#0", 0, 10))
    async with working(store, two):
        assert value(await ended(store, task_id)) == [10, 2]
    assert ran == {"b": 1}


@pytest.mark.parametrize(
    ("journal", "why"),
    [
        ([step("b#0", 0)], "'b#0' was recorded there"),
        ([step("a#0", 0), step("x#0", 1)], "'x#0' was recorded there"),
        ([step("a#0", 0), step("0.0/a#0", 0)], "'a gather' was recorded there"),
        ([step("a#0", 0), step("b#0", 1), step("c#0", 2)], "ended without the recorded step 'c#0'"),
        ([step("b#0", 1), step("a#0", 2)], "'nothing' was recorded there"),
    ],
    ids=["other name", "other name later", "a gather", "left over", "other place"],
)
async def test_a_changed_program_is_paused_with_the_step_that_differs(
    store: Store, journal: list[Step], why: str
) -> None:
    task_id = await interrupted(store, two, *journal)
    async with working(store, two):
        task = await paused(store, task_id)
    assert why in task.reason
    assert "c" not in ran


async def test_a_position_that_was_in_flight_runs(store: Store) -> None:
    task_id = await interrupted(store, two, step("b#0", 1, 20))
    async with working(store, two):
        assert value(await ended(store, task_id)) == [1, 20]
    assert ran == {"a": 1}


async def test_a_declared_change_takes_the_old_path_where_the_old_code_has_passed(store: Store) -> None:
    @task_agent
    async def patched(ctx: Context) -> list[Any]:
        await ctx.step("a", count, "a")
        new = ctx.patched("more")
        if new:
            await ctx.step("more", count, "more")
        await ctx.step("b", count, "b")
        return [new, ctx.patched("more")]

    passed = await interrupted(store, patched, step("a#0", 0), step("b#0", 1))
    async with working(store, patched):
        assert value(await ended(store, passed)) == [False, False]
    before = await interrupted(store, patched, step("a#0", 0))
    async with working(store, patched):
        assert value(await ended(store, before)) == [True, True]
    assert ran == {"more": 1, "b": 1}
    assert "@patched:more" in {each.key for each in await store.journal(before)}


@pytest.mark.parametrize("version", ["1", "2", ""])
async def test_a_journal_of_another_version_is_refused(store: Store, version: str) -> None:
    async def program(ctx: Context) -> Any:
        return await ctx.step("a", count, "a", 1)

    old = task_agent(name="versioned", version="1")(program)
    new = task_agent(name="versioned", version=version)(program)
    marked = Step("@version", -1, value=msgspec.Raw(b'"1"'))
    task_id = await interrupted(store, old, marked, step("a#0", 0, 5))
    async with working(store, new):
        if version == "1":
            assert value(await ended(store, task_id)) == 5
        else:
            assert "written by version '1'" in (await paused(store, task_id)).reason
        (fresh_id,) = await submit(store, new.create_task())
        assert value(await ended(store, fresh_id)) == 1
    assert ("@version" in {each.key for each in await store.journal(fresh_id)}) == bool(version)


# -- failures ----------------------------------------------------------------------------------------------


class Refused(Exception):
    """An exception of the program's own, which cannot be made from a message alone."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code} {text}")
        self.code = code


def refuse() -> None:
    count("refuse")
    raise Refused(402, "no money")


async def test_a_failure_that_was_caught_is_raised_again_as_what_it_was(store: Store) -> None:
    @task_agent(retry=RetryPolicy(max_retries=1, base=1))
    async def catches(ctx: Context) -> str:
        try:
            await ctx.step("pay", refuse)
        except Refused as error:
            text = str(error)
        else:
            text = "paid"
        await ctx.step("after", count, "after")
        if ctx.attempt == 1:
            raise OSError("the worker's own trouble")
        return text

    async with working(store, catches):
        (task_id,) = await submit(store, catches.create_task())
        assert value(await ended(store, task_id)) == "402 no money"
    assert ran == {"refuse": 1, "after": 1}


async def test_a_failure_that_ends_the_attempt_is_tried_again(store: Store) -> None:
    @task_agent(retry=RetryPolicy(max_retries=3, base=1))
    async def flaky(ctx: Context) -> Any:
        await ctx.step("first", count, "first")

        def sometimes() -> str:
            count("flaky")
            if ran["flaky"] < 3:
                raise OSError("not now")
            return "at last"

        return await ctx.step("flaky", sometimes)

    async with working(store, flaky):
        (task_id,) = await submit(store, flaky.create_task())
        task = await ended(store, task_id)
    assert value(task) == "at last"
    assert ran == {"first": 1, "flaky": 3}


async def test_a_step_with_a_retry_policy_is_repeated_in_place(store: Store) -> None:
    @task_agent(max_retries=0)
    async def patient(ctx: Context) -> Any:
        async def sometimes() -> int:
            count("try")
            if ran["try"] < 3:
                raise OSError("not now")
            return ran["try"]

        return await ctx.step("s", sometimes, retry=RetryPolicy(max_retries=5, base=1))

    async with working(store, patient):
        (task_id,) = await submit(store, patient.create_task())
        assert value(await ended(store, task_id)) == 3


async def test_a_step_that_takes_too_long_fails(store: Store) -> None:
    @task_agent(max_retries=0)
    async def slow(ctx: Context) -> None:
        await ctx.step("s", asyncio.sleep, 30, timeout=0.02)

    async with working(store, slow):
        (task_id,) = await submit(store, slow.create_task())
        task = await ended(store, task_id)
    assert task.error is not None
    assert task.error.type == "TimeLimit"
    assert "'s#0'" in task.error.message


async def test_two_steps_of_one_name_side_by_side_are_refused(store: Store) -> None:
    @task_agent(max_retries=0)
    async def twins(ctx: Context) -> None:
        await asyncio.gather(ctx.step("s", asyncio.sleep, 0.01), ctx.step("s", asyncio.sleep, 0.01))

    async with working(store, twins):
        (task_id,) = await submit(store, twins.create_task())
        task = await ended(store, task_id)
    assert task.error is not None
    assert "two steps named 's' are in flight at once" in task.error.message


# -- once --------------------------------------------------------------------------------------------------


def charge(amount: int, idempotency_key: str) -> str:
    count("charge")
    return f"{amount} by {idempotency_key.partition(':')[2]}"


def buyer(answer: Any) -> FunctionAgent[..., Any]:
    def reconcile(key: str) -> Any:
        count("asked")
        return answer

    @task_agent(name="buyer", max_retries=0)
    async def buy(ctx: Context) -> Any:
        return await ctx.step("charge", charge, 5, effect="once", reconcile=reconcile)

    return buy


async def test_the_intent_of_a_step_that_runs_once_is_written_ahead(store: Store) -> None:
    agent = buyer(None)
    async with working(store, agent):
        (task_id,) = await submit(store, agent.create_task())
        assert value(await ended(store, task_id)) == "5 by charge#0"
    assert ran == {"charge": 1}


@pytest.mark.parametrize(
    ("answer", "result", "counted"),
    [
        (("done", "5 before"), "5 before", {"asked": 1}),
        ("retry", "5 by charge#0", {"asked": 1, "charge": 1}),
        (("fail", "declined"), None, {"asked": 1}),
    ],
)
async def test_reconcile_decides_about_a_step_that_was_started(
    store: Store, answer: Any, result: Any, counted: dict[str, int]
) -> None:
    agent = buyer(answer)
    task_id = await interrupted(store, agent, Step("charge#0", 0, StepState.STARTED))
    async with working(store, agent):
        task = await ended(store, task_id)
    assert ran == counted
    if result is None:
        assert task.error is not None
        assert "declined" in task.error.message
    else:
        assert value(task) == result


async def test_a_person_decides_when_nobody_else_can(store: Store) -> None:
    agent = buyer(None)
    task_id = await interrupted(store, agent, Step("charge#0", 0, StepState.STARTED))
    async with working(store, agent):
        task = await paused(store, task_id)
        assert "resolve_step" in task.reason
        assert "'charge#0'" in task.reason
        await store.signal(
            [Signal(task_id, SignalKind.RESOLVE, data={"key": "charge#0", "how": "done", "value": "paid"})]
        )
        assert value(await ended(store, task_id)) == "paid"
    assert "charge" not in ran


# -- waiting -----------------------------------------------------------------------------------------------


async def test_an_event_is_consumed_with_its_step(store: Store) -> None:
    @task_agent
    async def waiter(ctx: Context) -> list[Any]:
        return [await ctx.wait_event("go"), await ctx.wait_event("go")]

    async with working(store, waiter) as worker:
        (task_id,) = await submit(store, waiter.create_task())
        await until(store, task_id, waits)
        assert worker.busy == 0
        for number in range(2):
            await store.signal([Signal(task_id, SignalKind.EVENT, "event:go", {"n": number})])
        assert value(await ended(store, task_id)) == [{"n": 0}, {"n": 1}]
    assert list(await store.inbox(task_id)) == []


async def test_a_wait_that_takes_too_long_raises_and_is_recorded(store: Store, clock: Clock) -> None:
    @task_agent
    async def waiter(ctx: Context) -> str:
        try:
            await ctx.wait_answer("call-1", timeout=3600)
        except WaitTimeout as error:
            text = type(error).__name__
        else:
            text = "answered"
        await ctx.sleep(3600)
        return text

    async with working(store, waiter):
        (task_id,) = await submit(store, waiter.create_task())
        await until(store, task_id, waits)
        clock.forward(3601)
        await until(store, task_id, lambda task: waits(task) and task.steps > 2)
        clock.forward(3601)
        assert value(await ended(store, task_id)) == "WaitTimeout"


async def test_branches_that_wait_suspend_together_and_end_one_by_one(store: Store) -> None:
    @task_agent
    async def both(ctx: Context) -> list[Any]:
        async def branch(name: str) -> Any:
            await ctx.step("before", count, f"before {name}")
            got = await ctx.wait_event(name)
            await ctx.step("after", count, f"after {name}")
            return got

        return await ctx.gather(branch("a"), branch("b"), ctx.step("own", count, "own", 0))

    async with working(store, both) as worker:
        (task_id,) = await submit(store, both.create_task())
        task = await until(store, task_id, waits)
        assert task.wait is not None
        assert set(task.wait.on) == {"event:a", "event:b"}
        assert worker.busy == 0
        await store.signal([Signal(task_id, SignalKind.EVENT, "event:b", 2)])
        await until(store, task_id, lambda task: waits(task) and task.wait is not None and len(task.wait.on) == 1)
        await store.signal([Signal(task_id, SignalKind.EVENT, "event:a", 1)])
        assert value(await ended(store, task_id)) == [1, 2, 0]
    assert all(times == 1 for times in ran.values())
    assert len(ran) == 5


async def test_a_failed_branch_ends_its_siblings(store: Store) -> None:
    @task_agent(max_retries=0)
    async def broken(ctx: Context) -> str:
        async def bad() -> None:
            raise ValueError("bad branch")

        try:
            await ctx.gather(ctx.wait_event("never"), bad(), ctx.step("slow", asyncio.sleep, 30))
        except ValueError as error:
            await ctx.step("after", count, "after")
            return str(error)
        return ""

    async with working(store, broken):
        (task_id,) = await submit(store, broken.create_task())
        assert value(await ended(store, task_id)) == "bad branch"


@pytest.mark.parametrize("where", ["function", "coroutine", "branch", "task group"])
async def test_an_exit_in_a_branch_fails_its_task_and_leaves_the_worker_alone(store: Store, where: str) -> None:
    def leave() -> None:
        sys.exit(3)

    async def leave_soon() -> None:
        sys.exit(3)

    @task_agent(max_retries=0)
    async def exits(ctx: Context) -> None:
        match where:
            case "function":
                await ctx.gather(ctx.step("leave", leave))
            case "coroutine":
                await ctx.gather(ctx.step("leave", leave_soon))
            case "branch":
                await ctx.gather(leave_soon)
            case _:
                async with asyncio.TaskGroup() as group:
                    group.create_task(ctx.step("leave", leave_soon))

    async with working(store, exits, leaf):
        first, second = await submit(store, exits.create_task(), leaf.create_task(payload=4))
        task = await ended(store, first)
        assert task.error is not None
        assert "SystemExit(3)" in task.error.traceback
        assert value(await ended(store, second)) == 8


async def test_code_that_catches_everything_cannot_swallow_a_wait(store: Store) -> None:
    @task_agent
    async def greedy(ctx: Context) -> str:
        try:
            await ctx.wait_event("go")
        except BaseException:  # noqa: BLE001 - what it is about
            await ctx.step("cleanup", count, "cleanup")
        return "went on"

    async with working(store, greedy):
        (task_id,) = await submit(store, greedy.create_task())
        await until(store, task_id, waits)
        assert "cleanup" not in ran
        await store.signal([Signal(task_id, SignalKind.EVENT, "event:go")])
        assert value(await ended(store, task_id)) == "went on"


async def test_a_task_group_of_the_program_lets_a_wait_through(store: Store) -> None:
    @task_agent
    async def grouped(ctx: Context) -> Any:
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            got = group.create_task(ctx.wait_event("go"))
            group.create_task(ctx.step("beside", count, "beside"))
        return got.result()

    async with working(store, grouped):
        (task_id,) = await submit(store, grouped.create_task())
        await until(store, task_id, waits)
        await store.signal([Signal(task_id, SignalKind.EVENT, "event:go", 7)])
        assert value(await ended(store, task_id)) == 7


# -- children ----------------------------------------------------------------------------------------------


@task_agent(max_retries=0)
async def leaf(payload: int) -> int:
    if payload < 0:
        raise ValueError("negative")
    return payload * 2


async def test_children_that_fail_or_are_cancelled_are_results(store: Store) -> None:
    @task_agent(name="never claimed")
    async def never() -> None: ...

    @task_agent
    async def parent(ctx: Context) -> list[Any]:
        good = await ctx.spawn(leaf.create_task(payload=4))
        bad = await ctx.spawn(leaf.create_task(payload=-1))
        late = await ctx.spawn(never.create_task())
        results: list[ChildResult] = await ctx.wait_for([good, bad, late], need="all")
        return [[each.state, each.result, each.error.type if each.error else "", each.reason] for each in results]

    async with working(store, parent, leaf):
        (task_id,) = await submit(store, parent.create_task(owner_id="ann"))
        await until(store, task_id, lambda task: waits(task) and task.unmet == 1)
        journal = await store.journal(task_id)
        (late,) = msgspec.json.decode(next(each.value for each in journal if each.key == "spawn#2") or b"")
        child = await store.task(late)
        assert child is not None
        assert (child.owner, child.parent) == ("ann", task_id)
        await store.signal([Signal(late, SignalKind.CANCEL, reason="not needed")])
        assert value(await ended(store, task_id)) == [
            ["done", 8, "", ""],
            ["failed", None, "ValueError", ""],
            ["cancelled", None, "", "not needed"],
        ]


async def test_any_child_is_enough_where_one_is_asked_for(store: Store) -> None:
    @task_agent(name="never claimed")
    async def never() -> None: ...

    @task_agent
    async def parent(ctx: Context) -> list[Any]:
        children = await ctx.spawn_batch([never.create_task(), leaf.create_task(payload=1)])
        first = await ctx.wait_for(children, need="any")
        try:
            await ctx.wait_for(children, timeout=0.01)
        except WaitTimeout:
            return [each.result for each in first]
        return []

    async with working(store, parent, leaf):
        (task_id,) = await submit(store, parent.create_task())
        assert value(await ended(store, task_id)) == [2]


# -- telling and steering ----------------------------------------------------------------------------------


async def test_progress_and_events_arrive_before_the_end(store: Store) -> None:
    @task_agent
    async def tells(ctx: Context) -> None:
        await ctx.progress(0.5, "half")
        await ctx.emit("found", {"n": 3})

    async with working(store, tells):
        (task_id,) = await submit(store, tells.create_task())
        await ended(store, task_id)
    assert list(await kinds(store, task_id)) == ["created", "started", "progress", "emitted", "done"]


async def test_steering_is_read_once_and_in_order(store: Store) -> None:
    @task_agent
    async def steered(ctx: Context) -> list[Any]:
        first = await ctx.messages()
        await ctx.wait_event("go")
        return [first, await ctx.messages(), await ctx.messages()]

    (task_id,) = await submit(store, steered.create_task())
    await store.signal([Signal(task_id, SignalKind.STEER, data=text) for text in ("a", "b")])
    async with working(store, steered):
        await until(store, task_id, waits)
        await store.signal([Signal(task_id, SignalKind.STEER, data="c"), Signal(task_id, SignalKind.EVENT, "event:go")])
        assert value(await ended(store, task_id)) == [["a", "b"], ["c"], []]


# -- values and transactions -------------------------------------------------------------------------------


class Point(msgspec.Struct):
    x: int


async def test_values_come_back_as_their_type_at_once_and_on_replay(store: Store) -> None:
    def point() -> Point:
        return Point(1)

    def pair() -> Any:
        return (1, 2)

    @task_agent(retry=RetryPolicy(max_retries=1, base=1))
    async def typed(ctx: Context) -> list[str]:
        values = [
            await ctx.step("point", point),
            await ctx.step("pair", pair),
            await ctx.step("big", str.ljust, "x", 99_999),
        ]
        if ctx.attempt == 1:
            raise OSError("again")
        return [repr(each)[:9] for each in values] + [str(len(values[2]))]

    async with working(store, typed):
        (task_id,) = await submit(store, typed.create_task())
        assert value(await ended(store, task_id)) == ["Point(x=1", "[1, 2]", "'x       ", "99999"]


async def test_a_transaction_commits_with_its_step(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "tenuto.db")
    await store.open()

    def book(connection: Any, amount: int) -> int:
        connection.execute("CREATE TABLE IF NOT EXISTS booked (amount INTEGER)")
        connection.execute("INSERT INTO booked VALUES (?)", (amount,))
        count("book")
        return amount

    @task_agent(retry=RetryPolicy(max_retries=1, base=1))
    async def books(ctx: Context) -> Any:
        booked = await ctx.transaction("book", book, 7)
        if ctx.attempt == 1:
            raise OSError("again")
        return booked

    async with working(store, books):
        (task_id,) = await submit(store, books.create_task())
        assert value(await ended(store, task_id)) == 7
    await store.close()
    assert ran == {"book": 1}
    with sqlite3.connect(tmp_path / "tenuto.db") as connection:
        assert connection.execute("SELECT amount FROM booked").fetchall() == [(7,)]
    connection.close()


@pytest.mark.parametrize("given", [{"$blob": "0" * 40}, {"$parts": [["0" * 40]], "value": None}])
async def test_what_a_transaction_gives_cannot_be_taken_for_a_reference(tmp_path: Path, given: Any) -> None:
    # Given a transaction whose value looks like a reference to a value that is stored apart
    @task_agent(retry=RetryPolicy(max_retries=0))
    async def books(ctx: Context) -> Any:
        return await ctx.transaction("book", lambda connection: given)

    store = SqliteStore(tmp_path / "tenuto.db")
    await store.open()
    async with working(store, books):
        (task_id,) = await submit(store, books.create_task())
        task = await ended(store, task_id)
    await store.close()
    # Then it is refused, since nobody could tell it from one
    assert task.state is State.FAILED
    assert task.error is not None
    assert "the value of step 'book#0' cannot be stored by a transaction" in task.error.message


async def test_a_transaction_where_there_is_no_sql_is_not_tried_again(tmp_path: Path) -> None:
    @task_agent(retry=RetryPolicy(max_retries=5, base=1))
    async def books(ctx: Context) -> None:
        await ctx.transaction("book", count, "book")

    for engine in [each for each in ENGINES.values() if not each.sql]:
        store = engine.make(tmp_path, wall_clock)
        await store.open()
        async with working(store, books):
            (task_id,) = await submit(store, books.create_task())
            task = await ended(store, task_id)
        await store.close()
        assert (task.state, task.attempt) == (State.FAILED, 1)
        assert task.error is not None
        assert task.error.type == "NeedsSql"
        assert "has no SQL: a transaction of the task's own needs SQLite or PostgreSQL" in task.error.message


NONSENSE: dict[str, Any] = {
    "no function": lambda ctx: ctx.step("s", 5),
    "no effect": lambda ctx: ctx.step("s", count, "s", effect="twice"),
    "once, repeated": lambda ctx: ctx.step("s", count, "s", effect="once", retry=RetryPolicy()),
    "no name": lambda ctx: ctx.step("", count, "s"),
    "a branch as name": lambda ctx: ctx.step("1.0/s", count, "s"),
    "no branch": lambda ctx: ctx.gather(5),
    "before now": lambda ctx: ctx.sleep(-1),
    "no task": lambda ctx: ctx.spawn("leaf"),
    "more than there are": lambda ctx: ctx.wait_for(["x"], need=2),
    "more than all": lambda ctx: ctx.progress(2.0),
    "a reserved name": lambda ctx: ctx.emit("progress"),
}


@pytest.mark.parametrize("call", NONSENSE.values(), ids=NONSENSE.keys())
async def test_nonsense_is_refused_in_one_sentence(store: Store, call: Any) -> None:
    @task_agent(max_retries=0)
    async def odd(ctx: Context) -> None:
        with pytest.raises(InvalidInput):
            await call(ctx)

    async with working(store, odd):
        (task_id,) = await submit(store, odd.create_task())
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
