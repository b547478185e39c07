"""Budgets and rates under fire: many tasks in several processes, some killed, and never a nano-dollar too much."""

from __future__ import annotations

import asyncio
import bisect
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tenuto.stores import open_store
from tenuto.stores.base import Store, TaskFilter
from tenuto.tasks.goal import Tree
from tenuto.tasks.limits import Limit
from tenuto.tasks.money import NOTHING, AtLimit, Budget
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.usage import CallState, UsageBy
from tests.integration.money.spender import LARGEST, RATE
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

ROOT = Path(__file__).resolve().parents[3]
PROCESSES = 4
TASKS = 50

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["sqlite", "redis", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    name = f"t_{secrets.token_hex(8)}"
    match request.param:
        case "sqlite":
            return f"sqlite:///{tmp_path / 'tenuto.db'}"
        case "redis":
            return shared_redis().url(namespace=name)
        case _:
            server = shared_postgres().url()
            return f"{server}{'&' if '?' in server else '?'}schema={name}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class Spenders:
    """Processes that spend; whichever is left in the end is killed by its own handle."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, calls: int = 0) -> None:
        module = ("-m", "tests.integration.money.spender", self._url, str(-(-TASKS // PROCESSES)), str(calls))
        self.running.append(subprocess.Popen([sys.executable, *module], cwd=ROOT, stdin=subprocess.DEVNULL))

    def kill_one(self) -> None:
        victim = self.running.pop(0)
        victim.send_signal(signal.SIGKILL)
        victim.wait(60)

    def close(self) -> None:
        for each in self.running:
            each.kill()
            each.wait(60)


@pytest.fixture
def spenders(url: str) -> Iterator[Spenders]:
    spenders = Spenders(url)
    try:
        yield spenders
    finally:
        spenders.close()


async def begin(store: Store, spenders: Spenders, limit: Limit, budget: Budget) -> None:
    await store.put_limit(limit)
    await store.put_budget(budget)
    await store.submit([Tree(TaskSpec(id=f"t{number}", agent="spender", owner="ann")) for number in range(TASKS)])
    for _ in range(PROCESSES):
        spenders.start()


async def test_a_budget_is_never_exceeded_whoever_is_killed(store: Store, spenders: Spenders) -> None:
    # Given 50 tasks in four processes on one budget
    limit = 500 * LARGEST
    await begin(store, spenders, Limit(RATE, rate=1_000_000, burst=1_000), Budget("owner:ann", money=limit))
    # When a process is killed at a third and at two thirds of it, and another one begins
    kills = [limit // 3, 2 * limit // 3]
    async with asyncio.timeout(240):
        while any(process.poll() is None for process in spenders.running):
            (use,) = await store.budgets("owner:")
            counted = use.spent + use.reserved
            assert counted.money <= limit
            if kills and counted.money > kills[0]:
                kills.pop(0)
                spenders.kill_one()
                spenders.start()
            await asyncio.sleep(0.002)
    # Then all tasks have come to their end, and what is left would not have been enough for the next call
    assert not kills
    tasks = (await store.tasks(TaskFilter(), limit=TASKS)).tasks
    assert {task.state for task in tasks} == {State.DONE}
    (use,) = await store.budgets("owner:")
    assert use.reserved == NOTHING
    assert limit - LARGEST < use.spent.money <= limit
    # And each call is in a ledger, and the totals are their sums
    entries = [entry for task in tasks for entry in await store.ledger(task.id)]
    assert CallState.UNKNOWN in {entry.state for entry in entries}
    assert sum((entry.counted for entry in entries), NOTHING) == use.spent
    for by in UsageBy:
        rows = await store.usage(by)
        assert sum((row.spent for row in rows), NOTHING) == use.spent, by
        assert sum(row.calls for row in rows) == len(entries)


async def test_all_children_of_a_tree_get_their_turn_in_what_is_left(store: Store, spenders: Spenders) -> None:
    # Given a goal of 50 tasks whose calls use next to nothing, and a budget in which a dozen of them have room at once
    limit, calls = 12 * LARGEST, 20
    nodes = tuple(TaskSpec(id=f"t{number}", agent="spender") for number in range(TASKS))
    budget = Budget(money=limit, at_limit=AtLimit.PAUSE)
    await store.submit([Tree(TaskSpec(id="goal", agent="", budget=budget), nodes)])
    # When four processes work on them, of which one is killed
    for _ in range(PROCESSES):
        spenders.start(calls)
    async with asyncio.timeout(240):
        while any(process.poll() is None for process in spenders.running):
            (use,) = await store.budgets("task:goal")
            assert use.spent.money + use.reserved.money <= limit
            if len(spenders.running) == PROCESSES and use.spent.money > 2 * LARGEST:
                spenders.kill_one()
            await asyncio.sleep(0.002)
    # Then each has made all of its calls: none was refused because of what others only held
    tasks = (await store.tasks(TaskFilter(), limit=TASKS + 1)).tasks
    assert {task.state for task in tasks} == {State.DONE}
    assert {len(await store.journal(task.id)) for task in tasks if task.id != "goal"} == {calls}
    (use,) = await store.budgets("task:goal")
    entries = [entry for task in tasks for entry in await store.ledger(task.id)]
    assert use.reserved == NOTHING
    assert use.spent == sum((entry.counted for entry in entries), NOTHING)


async def test_a_rate_is_never_exceeded_by_processes_that_share_it(store: Store, spenders: Spenders) -> None:
    # Given 300 calls in 3 seconds at most: 30 at once, and 270 more
    most, period, burst = 300, 3_000, 30
    limit = Limit(RATE, rate=most - burst, period=period, burst=burst)
    await begin(store, spenders, limit, Budget("owner:ann", requests=500))
    # When four processes make 500 calls as fast as they may
    async with asyncio.timeout(240):
        for process in spenders.running:
            assert await asyncio.to_thread(process.wait) == 0
    # Then no window of 3 seconds holds more than 300, by the engine's own clock
    at = sorted([entry.at for number in range(TASKS) for entry in await store.ledger(f"t{number}")])
    assert len(at) == 500
    for first, begin_at in enumerate(at):
        assert bisect.bisect_left(at, begin_at + period) - first <= most
