"""What the fault tests run in processes of their own: limits, lost rights and sudden deaths must not hit the tests.

    python -m tests.integration.faults.children begin|fill|work|submit|open STORE ...

Each prints what happened as lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tenuto.errors import StoreFull, TenutoError
from tenuto.stores.base import TimeToLive
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.goal import Edge, Tree
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec

__all__ = ["NODES", "ROOT", "arguments", "goal_tree", "run"]

ROOT = Path(__file__).resolve().parents[3]
NODES = 10
_PAYLOAD = msgspec.Raw(msgspec.json.encode("x" * 2_000))
_NOBODY = 65_534


def arguments(*given: str | Path) -> list[str]:
    """The command line of a child."""
    return [sys.executable, "-m", "tests.integration.faults.children", *map(str, given)]


def run(*given: str | Path, seconds: float = 200) -> list[Any]:
    """Runs a child to its end; what it has printed, log lines left out."""
    done = subprocess.run(arguments(*given), cwd=ROOT, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def goal_tree(number: int) -> Tree:
    """A goal of `NODES` nodes in a chain, some kilobytes large."""
    names = [f"g{number}-n{node}" for node in range(NODES)]
    nodes = tuple(TaskSpec(id=name, agent="echo", payload=_PAYLOAD) for name in names)
    return Tree(TaskSpec(id=f"g{number}"), nodes, tuple(map(Edge, names, names[1:])))


def _say(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _limit_files(size: int) -> None:
    """No file may grow beyond `size` bytes: the disk is full for this process."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def _sizes(path: Path) -> Iterable[int]:
    return (file.stat().st_size for file in path.parent.glob(f"{path.name}*") if file.is_file())


async def _begin(path: Path, size: int) -> None:
    """Makes a store where there is no room for it, and again when there is."""
    _limit_files(size)
    store = SqliteStore(path)
    _say(error=await _error(store.open()))
    await store.close()
    _limit_files(resource.RLIM_INFINITY)
    await store.open()
    await store.submit([goal_tree(1)])
    _say(damage=await store.check())
    await store.close()


async def _fill(path: Path) -> None:
    """Submits goals until there is no room, reads, and submits one more when there is room again."""
    store = SqliteStore(path)
    await store.open()
    _limit_files(1_500_000)
    accepted = 0
    try:
        while True:
            await store.submit([goal_tree(accepted)])
            accepted += 1
    except TenutoError as error:
        _say(accepted=accepted, error=type(error).__name__, message=str(error))
    _say(readable=sum((await store.stats()).values()))
    swept = await _error(store.sweep(100, TimeToLive()))
    _say(swept=swept)
    _limit_files(resource.RLIM_INFINITY)
    await store.submit([goal_tree(accepted)])
    _say(again=sum((await store.stats()).values()), damage=await store.check())
    await store.close()


async def _error(verb: Any) -> str | None:
    try:
        await verb
    except TenutoError as error:
        return type(error).__name__
    return None


async def _done(store: SqliteStore, count: int) -> None:
    """Waits until so many tasks are done."""
    while (await store.stats())[State.DONE] < count:  # noqa: ASYNC110  # there is no event for a count
        await asyncio.sleep(0.01)


async def _work(path: Path) -> None:
    """A worker that runs out of room in the middle of its work, and gets it back."""
    from tenuto.agents.function import task_agent
    from tenuto.workers.context import Context
    from tenuto.workers.worker import Worker, WorkerConfig

    ran: list[tuple[str, str]] = []

    def body(task: str, name: str) -> str:
        ran.append((task, name))
        return name * 500

    @task_agent(name="echo")
    async def echo(ctx: Context) -> str:
        for name in "ab":
            await ctx.step(name, body, ctx.task_id, name)
        return "done"

    store = SqliteStore(path)
    await store.open()
    await store.submit([Tree(TaskSpec(id=f"t{number}", agent="echo")) for number in range(300)])
    worker = Worker(store, [echo], WorkerConfig(concurrency=10))
    working = asyncio.create_task(worker.run())
    async with asyncio.timeout(150):
        await _done(store, 100)
        _limit_files(max(_sizes(path)) + 50_000)
        number = 0
        try:
            while True:
                number += 1
                await store.submit([goal_tree(number)])
        except StoreFull:
            _say(full_after=(await store.stats())[State.DONE])
        before = (await store.stats())[State.DONE]
        await asyncio.sleep(0.5)  # the worker meets the full disk too, and has to be patient
        during = (await store.stats())[State.DONE]
        _limit_files(resource.RLIM_INFINITY)
        everything = 300 + (number - 1) * NODES
        await _done(store, everything)
    worker.drain()
    await working
    _say(during=during - before, steps=len(ran), different=len(set(ran)), expected=2 * everything)
    await store.close()


async def _submit(path: Path, first: int) -> None:
    """Submits goals until it is killed; each is printed once it was answered."""
    store = SqliteStore(path)
    await store.open()
    number = first
    while True:
        await asyncio.gather(*(store.submit([goal_tree(number + each)]) for each in range(3)))
        _say(up_to=number + 3)
        number += 3


async def _first_use(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    await store.submit([goal_tree(1)])
    await store.close()


async def _open(path: Path) -> None:
    """Opens the store as somebody who may only read it: root may write everything, so root becomes nobody."""
    if os.geteuid() == 0:
        with tempfile.TemporaryDirectory() as folder:  # nobody may not import what root has installed: do it now
            await _first_use(Path(folder) / "warm.db")
        os.setgroups([])
        os.setgid(_NOBODY)
        os.setuid(_NOBODY)
    store = SqliteStore(path)
    try:
        await store.open()
        await store.submit([goal_tree(1)])
    except TenutoError as error:
        _say(error=type(error).__name__, message=str(error))
    else:
        _say(error=None)
    finally:
        await store.close()


if __name__ == "__main__":
    what, file, *more = sys.argv[1:]
    match what:
        case "begin":
            asyncio.run(_begin(Path(file), int(more[0])))
        case "fill":
            asyncio.run(_fill(Path(file)))
        case "work":
            asyncio.run(_work(Path(file)))
        case "submit":
            asyncio.run(_submit(Path(file), int(more[0])))
        case "open":
            asyncio.run(_open(Path(file)))
