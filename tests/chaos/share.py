"""Two orchestrators with two worker processes each work off one store, as anybody would start them.

Each submits half of the tasks, and any worker may take any of them. Every task returns which worker ran it, so it can
be seen afterwards how they shared the work, and whether they had it until the end.

    make chaos ARGS="--share"

This module is also the program that runs one orchestrator:

    python -m tests.chaos.share --store URL --number N --tasks N
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tenuto.agents.function import task_agent
from tenuto.client import Client
from tenuto.orchestrator import Orchestrator
from tenuto.stores.base import TaskFilter
from tenuto.tasks.clock import Millis
from tenuto.tasks.states import State
from tenuto.workers.config import AgentWorkerConfig
from tests.chaos.places import Place
from tests.chaos.processes import Child, Children

__all__ = ["Shares", "run_share"]

_ORCHESTRATORS = 2
_WORKERS = 2
"""Of each orchestrator."""
_BATCH = 500
_TICK = 0.05


@task_agent(name="chaos-share")
async def share_agent(payload: int) -> list[int]:
    """Says who ran it: the orchestrator's number, and the worker's process."""
    return [int(os.environ["TENUTO_CHAOS_SHARE"]), os.getpid()]


@dataclass
class Shares:
    """How the work was shared."""

    engine: str
    tasks: int
    seconds: float = 0.0
    """from the first start of a task to the last end"""
    orchestrators: dict[int, int] = field(default_factory=dict)
    """tasks that the workers of each have done"""
    workers: dict[int, int] = field(default_factory=dict)
    """tasks that each worker process has done"""
    early: float = 0.0
    """seconds for which one orchestrator had nothing to do any more"""
    violations: list[str] = field(default_factory=list)


async def run_share(
    place: Place, folder: Path, tasks: int, seconds: float, fair: float = 0.2, together: float = 0.1
) -> Shares:
    """Runs so many tasks in a new store at `place`; gives up after so many `seconds`.

    `fair`: how far the share of an orchestrator may be from the fair one. `together`: for which part of the time one of
    them may have nothing to do in the end.
    """
    await asyncio.to_thread(folder.mkdir, parents=True)
    place.begin(folder.name, 0)
    shares = Shares(place.name, tasks)
    with Children(folder) as children:
        async with Client(place.url) as client:
            programs = [_orchestrator(children, place.url, number, tasks) for number in range(_ORCHESTRATORS)]
            deadline = time.monotonic() + seconds
            while (await client.stats())[State.DONE] < tasks and time.monotonic() < deadline:  # noqa: ASYNC110
                await asyncio.sleep(_TICK)
            codes = await asyncio.gather(*(asyncio.to_thread(program.end, 60.0) for program in programs))
            for program, code in zip(programs, codes, strict=True):
                if code != 0:
                    shares.violations.append(f"{program.name} ended with {code}")
            await _judge(client, shares, fair, together)
    return shares


def _orchestrator(children: Children, url: str, number: int, tasks: int) -> Child:
    given = ("--store", url, "--number", f"{number}", "--tasks", f"{tasks // _ORCHESTRATORS}")
    return children.start(f"orchestrator-{number}", "tests.chaos.share", *given)


async def _judge(client: Client, shares: Shares, fair: float, together: float) -> None:
    who: Counter[int] = Counter()
    workers: Counter[int] = Counter()
    last: dict[int, Millis] = {}
    starts: list[Millis] = []
    cursor: str | None = None
    while True:
        page = await client.store.tasks(TaskFilter(), cursor, 1_000)
        for task in page.tasks:
            if task.state is not State.DONE or task.result is None:
                shares.violations.append(f"{task.id} is {task.state}: {task.error or task.reason}")
                continue
            orchestrator, worker = msgspec.json.decode(task.result)
            who[orchestrator] += 1
            workers[worker] += 1
            last[orchestrator] = max(last.get(orchestrator, 0), task.since)
            starts.append(task.started_at or task.since)
        cursor = page.cursor
        if cursor is None:
            break
    shares.orchestrators, shares.workers = dict(sorted(who.items())), dict(workers)
    if who.total() != shares.tasks or len(who) != _ORCHESTRATORS:
        shares.violations.append(f"{shares.tasks} tasks were submitted, and {who.total()} are done, by {len(who)}")
        return
    shares.seconds = (max(last.values()) - min(starts)) / 1000
    shares.early = (max(last.values()) - min(last.values())) / 1000
    even = shares.tasks / _ORCHESTRATORS
    for orchestrator, count in who.items():
        if abs(count - even) > fair * even:
            shares.violations.append(f"orchestrator {orchestrator} has done {count:,} tasks, and {even:,.0f} is fair")
    if len(workers) != _ORCHESTRATORS * _WORKERS:
        shares.violations.append(f"only {len(workers)} worker processes have worked")
    if shares.early > max(together * shares.seconds, 0.1):
        shares.violations.append(f"one orchestrator had nothing to do in the last {shares.early:g} s")


async def _orchestrate(url: str, number: int, tasks: int) -> None:
    """Registers the agent, waits until all workers are there, submits its half, and works until it is ended."""
    os.environ["TENUTO_CHAOS_SHARE"] = f"{number}"
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(15, ended.set)
    async with Orchestrator(store=url) as orchestrator:
        orchestrator.register_runner(share_agent, AgentWorkerConfig(workers=_WORKERS))
        while len(await orchestrator.workers()) < _ORCHESTRATORS * _WORKERS:  # noqa: ASYNC110  # no event tells it
            await asyncio.sleep(_TICK)
        for at in range(0, tasks, _BATCH):
            some = range(at, min(at + _BATCH, tasks))
            await orchestrator.enqueue_batch(
                share_agent,
                [share_agent.create_task(owner_id=f"owner-{number}", payload=each) for each in some],
            )
        await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--store", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--tasks", type=int, required=True)
    given = parser.parse_args()
    asyncio.run(_orchestrate(given.store, given.number, given.tasks))
