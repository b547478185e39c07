"""Workers as service agents: on one loop, in threads, in processes; killed, frozen, drained and orphaned."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from tenuto.agents.function import FunctionAgent, task_agent
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.stores.sqlite import SqliteStore
from tenuto.supervisor.agents.worker import register_workers
from tenuto.supervisor.entry import Executor
from tenuto.supervisor.settings import RunMode
from tenuto.supervisor.supervisor import Supervisor
from tenuto.tasks.states import State
from tenuto.workers.config import MaintenanceWorkerConfig, WorkerConfig
from tests.freezing import freeze
from tests.integration.supervisor.stage import children, dead
from tests.integration.supervisor.worker_agents import five, forever, whoami
from tests.integration.workers.rig import ended, eventually, kinds, submit, until

CONFIG = WorkerConfig(concurrency=4, lease=1.5, grace=1.5, poll=0.1, maintenance=MaintenanceWorkerConfig(interval=0.1))


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    engine = SqliteStore(tmp_path / "tenuto.db")
    await engine.open()
    yield engine
    await engine.close()


@asynccontextmanager
async def working(
    store: Store | str,
    *agents: FunctionAgent[..., Any],
    executor: Executor,
    workers: int = 2,
    config: WorkerConfig = CONFIG,
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(run_mode=RunMode.DAEMON)
    register_workers(supervisor.lifecycle_manager, store, agents, config, workers=workers, executor=executor)
    supervisor.start()
    try:
        yield supervisor
    finally:
        await asyncio.to_thread(supervisor.stop)


def pids(supervisor: Supervisor) -> list[int]:
    return [entry.pid for entry in supervisor.lifecycle_manager.entries if entry.pid is not None]


def value(result: Any) -> Any:
    return msgspec.json.decode(result or b"null")


@pytest.mark.parametrize("executor", ["async", "thread", "process"])
async def test_every_kind_of_worker_does_the_work(store: Store, executor: Executor) -> None:
    others = children()
    async with working(store, whoami, executor=executor):
        ids = await submit(store, *(whoami.create_task() for _ in range(40)))
        done = [await ended(store, task_id) for task_id in ids]
    found = {value(task.result) for task in done}
    assert (os.getpid() in found) == (executor != "process")
    assert children() <= others


async def test_a_killed_worker_process_is_replaced_and_its_tasks_go_on(store: Store, tmp_path: Path) -> None:
    # Given tasks of five steps each, and two worker processes
    ids = await submit(store, *(five.create_task(payload=str(tmp_path)) for _ in range(60)))
    async with working(store, five, executor="process") as made:
        # When one of them is killed in the middle
        await until(store, ids[5], lambda task: task.is_final)
        os.kill(pids(made)[0], signal.SIGKILL)

        # Then every task is done once, and no recorded step ran twice
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE
        assert (await store.stats())[State.DONE] == 60
    for task_id in ids:
        told = list(await kinds(store, task_id))
        assert told.count("done") == 1
        lines = [len((tmp_path / f"{task_id}-{n}").read_text().splitlines()) for n in range(5)]
        assert sum(lines) < 5 + told.count("started")  # with an attempt, at most the step in flight was lost


async def test_a_frozen_worker_process_comes_back_too_late(store: Store, tmp_path: Path) -> None:
    # Given two worker processes in the middle of their tasks
    ids = await submit(store, *(five.create_task(payload=str(tmp_path)) for _ in range(60)))
    async with working(store, five, executor="process") as made:
        await until(store, ids[5], lambda task: task.is_final)

        # When one is frozen for longer than its leases, and goes on after that
        frozen = pids(made)[0]
        freeze(frozen)
        await asyncio.sleep(CONFIG.lease + 0.5)  # not until others are done: it may be frozen in a transaction
        os.kill(frozen, signal.SIGCONT)
        for task_id in ids:
            assert (await ended(store, task_id)).state is State.DONE

    # Then nothing that it still reports was accepted
    for task_id in ids:
        assert list(await kinds(store, task_id)).count("done") == 1
        assert value((await ended(store, task_id)).result) == [0, 1, 2, 3, 4]


async def test_a_drained_process_hands_its_tasks_back(store: Store) -> None:
    async with working(store, forever, executor="process", workers=1, config=replace(CONFIG, lease=30)) as made:
        (task_id,) = await submit(store, forever.create_task())
        await until(store, task_id, lambda task: task.state is State.RUNNING)
        (pid,) = pids(made)
    assert not psutil.pid_exists(pid)
    assert (await kinds(store, task_id))[-1] == "released"


PARENT = """
import sys
from tenuto.supervisor.agents.worker import register_workers
from tenuto.supervisor.supervisor import Supervisor
from tenuto.workers.config import WorkerConfig
from tests.integration.supervisor.worker_agents import forever
supervisor = Supervisor(run_mode="DAEMON")
register_workers(
    supervisor.lifecycle_manager, sys.argv[1], [forever], WorkerConfig(grace=0.1), workers=2, executor="process"
)
supervisor.run()
"""


async def test_worker_processes_die_with_a_parent_that_is_killed(store: Store) -> None:
    # Given a program with two worker processes, one of them at work
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, store.url)
    (task_id,) = await submit(store, forever.create_task())
    await until(store, task_id, lambda task: task.state is State.RUNNING)

    async def all_there() -> list[psutil.Process]:
        found = psutil.Process(parent.pid).children(recursive=True)
        return found if len(found) == 3 else []  # the fork server and two workers

    family = await eventually(all_there)

    # When the program is killed
    parent.kill()
    await parent.wait()

    # Then its workers follow, and what they held is handed back
    async def gone() -> bool:
        return all(map(dead, family))

    await eventually(gone)
    assert (await kinds(store, task_id))[-1] == "released"


SCRIPT = """
from __future__ import annotations
import asyncio, dataclasses, sys
import msgspec
from tenuto.agents.function import task_agent
from tenuto.plans.builder import tree_of
from tenuto.stores import open_store
from tenuto.workers.context import Context
from tenuto.supervisor.agents.worker import register_workers
from tenuto.supervisor.supervisor import Supervisor
from tenuto.workers.config import WorkerConfig

print("the main module runs")

class Photo(msgspec.Struct, frozen=True, rename="camel"):
    file_name: str
    size: Size | None = None
    tags: list[str] = msgspec.field(default_factory=list)

@dataclasses.dataclass
class Size:
    width: int

def halve(size: Size) -> Size:
    return Size(size.width // 2)

@task_agent
async def shrink(ctx: Context, photo: Photo) -> Photo:
    smaller = await ctx.step("halve", halve, photo.size)
    assert isinstance(smaller, Size)
    if smaller.width > 1:
        again = await ctx.spawn(shrink.create_task(payload=Photo(photo.file_name, smaller)))
        (result,) = await ctx.wait_for(again)
        return msgspec.convert(result.result, Photo)
    return Photo(photo.file_name, smaller, ["small"])

async def main():
    store = open_store(sys.argv[1])
    await store.open()
    (answer,) = await store.submit([tree_of(shrink.create_task(payload=Photo("cat.png", Size(8))))])
    supervisor = Supervisor()
    register_workers(supervisor.lifecycle_manager, store, [shrink], WorkerConfig(), workers=1, executor="process")
    supervisor.start()
    while not (task := await store.task(answer.task_id)).is_final:
        await asyncio.sleep(0.01)
    print(task.state.value, bytes(task.result or b"").decode(), task.error)
    supervisor.stop()
    await store.close()

asyncio.run(main())
"""


async def test_a_script_without_a_main_guard_works_with_processes(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(script), f"sqlite:///{tmp_path / 'tenuto.db'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines() == [
        "the main module runs",
        'done {"fileName":"cat.png","size":{"width":1},"tags":["small"]} None',
    ]


def test_what_processes_cannot_share_is_refused() -> None:
    lock = threading.Lock()

    @task_agent
    def locked() -> None:
        lock.acquire()

    def register(store: str, agent: FunctionAgent[..., Any], workers: int = 1) -> Supervisor:
        supervisor = Supervisor()
        manager = supervisor.lifecycle_manager
        register_workers(manager, store, [agent], CONFIG, workers=workers, executor="process")
        return supervisor

    with pytest.raises(InvalidInput, match="memory:// lives in one process"):
        register("memory://", whoami)
    with pytest.raises(InvalidInput, match="workers"):
        register("sqlite:///never-opened.db", whoami, workers=0)
    refused = register("sqlite:///never-opened.db", locked)
    with pytest.raises(InvalidInput, match="cannot be sent to a process"):
        refused.start()
