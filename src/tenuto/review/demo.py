"""Running a review as a durable goal: begin it, or go on with one that was interrupted, and work on it until it ends.

A review is known by the tree and the report's file. While it is unfinished there is one of it: starting it again, after
a crash or beside a process that is still at it, goes on with what is stored. Once it has ended, in whatever way, the
next start begins a new review, under a new id with the next number, because the tree may have changed.

The worker in here serves the agents of all reviews, as any worker does: where a review of another tree in the same
store was left unfinished, this process takes part in that too, as long as it lasts.
"""

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tenuto.client import Client
from tenuto.errors import Conflict, InvalidInput
from tenuto.review import git
from tenuto.review.agents import AGENTS, Judgement, Order, review_goal
from tenuto.review.filenames import to_text
from tenuto.review.metrics import Metrics
from tenuto.review.scan import tree_at
from tenuto.tasks.blobs import digest
from tenuto.tasks.goal import Goal
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.config import WorkerConfig
from tenuto.workers.worker import Worker

LEASE = 15.0
"""Seconds. So long after a kill, what the killed process held is taken over; a busy worker renews well before."""

_LOOK = 0.1
_PAGE = 1_000


class Snapshot(msgspec.Struct, frozen=True):
    """A review while it runs. `tasks` are all of its tasks: the goal's nodes, and those that they spawned."""

    goal: Goal
    tasks: list[Task]
    resumed: bool

    @property
    def done(self) -> int:
        """How many tasks are done."""
        return sum(task.state is State.DONE for task in self.tasks)

    @property
    def spawned(self) -> list[Task]:
        """The tasks that nodes spawned: one for each parcel, and a second writer where the report was sent back."""
        return [task for task in self.tasks if task.node is None]


class DemoOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """A review that has ended well. `seconds` counts this process alone; `resumed` says that another began it."""

    goal_id: str
    report: Path
    metrics: Metrics
    judgement: Judgement
    tasks: int
    seconds: float
    resumed: bool


async def run_demo(path: Path | None, out: Path, store_url: str, show: Callable[[Snapshot], None]) -> DemoOutcome:
    """Review the tree at `path` and write the report to `out`, with the goal and its tasks in the store at `store_url`.

    `path` None: the git work tree around the current directory, else that directory. `show` is called with the state of
    the review when it begins or goes on, some times a second while it runs, and when it has ended.

    Raises `InvalidInput` for a `path` that is no directory or an `out` that is one, `TaskFailed` and `TaskCancelled`
    for a review that ended so, `Conflict` for one that somebody paused, and the store's own errors.
    """
    began = time.monotonic()
    order = await asyncio.to_thread(order_for, path, out)
    async with Client(store_url) as client:
        goal_id, resumed = await begin(client, order)
        # Nothing is claimed ahead: the first parcels are small and the next are not, and a task that is handed back
        # unread would be shown as if it had been tried twice.
        worker = Worker(client.store, AGENTS, WorkerConfig(concurrency=_slots(), prefetch=0, lease=LEASE))
        working = asyncio.create_task(worker.run())
        ended = asyncio.create_task(client.get_task_result(goal_id))
        try:
            await _watch(client, goal_id, resumed, show, ended, working)
            await ended
        finally:
            worker.drain()
            ended.cancel()
            await asyncio.gather(working, ended, return_exceptions=True)
        last = await _look(client, goal_id, resumed)
        nodes = {task.node: task.id for task in last.tasks if task.node is not None}
        return DemoOutcome(
            goal_id=goal_id,
            report=order.report,
            metrics=await client.get_task_result(nodes["metrics"], type=Metrics),
            judgement=await client.get_task_result(nodes["judge"], type=Judgement),
            tasks=len(last.tasks),
            seconds=time.monotonic() - began,
            resumed=resumed,
        )


def order_for(path: Path | None, out: Path) -> Order:
    """Return what is asked for by these paths; see `run_demo`. Raises `InvalidInput`."""
    root = Path.cwd() if path is None else path.expanduser()
    if path is None:
        answer, top = git.ask(root, "rev-parse", "--show-toplevel", seconds=30)
        root = Path(top) if answer.complete and Path(top).is_dir() else root
    report = Path(os.path.realpath(out.expanduser()))
    above = next(directory for directory in report.parents if directory.exists())
    if report.is_dir():
        raise InvalidInput(f"Cannot write the report to {report}: it is a directory. Name a file.")
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise InvalidInput(f"Cannot write the report to {report}: {above} is not a directory that can be written to.")
    return Order(to_text(str(tree_at(root))), to_text(str(report)))


async def begin(client: Client, order: Order) -> tuple[str, bool]:
    """Return the id of the review that is to be worked on, and whether it was there already."""
    key = digest(msgspec.json.encode(order))[:8]
    tag = f"review:{key}"
    newest = await client.list_tasks(tag=tag, goals=True, roots_only=True, limit=1)
    number = 1
    for task in newest:
        if not task.stored.is_final:
            if task.paused:
                await client.resume_task(task.id)
            return task.id, True
        number = int(task.id.rpartition("-")[2]) + 1
    return await client.submit_goal(review_goal(order, id=f"review-{key}-{number}", tag=tag)), False


async def _watch(
    client: Client,
    goal_id: str,
    resumed: bool,
    show: Callable[[Snapshot], None],
    ended: asyncio.Task[object],
    working: asyncio.Task[None],
) -> None:
    """Show the review until it has ended. Raises what ended the worker, and `Conflict` when nothing can go on."""
    still = 0
    while True:
        over = ended.done()
        now = await _look(client, goal_id, resumed)
        show(now)
        if over:
            return
        if working.done():
            await working
        stopped = _stopped(now.tasks)
        still = still + 1 if stopped is not None else 0
        if stopped is not None and still > 3:
            reason = stopped.reason or "nobody said why"
            raise Conflict(
                f"The review {goal_id} cannot go on, because task {stopped.id} is paused ({reason})."
                f" Resume it with `tenuto task resume {stopped.id}`, or give the review up with"
                f" `tenuto goal cancel {goal_id}`."
            )
        await asyncio.wait({ended, working}, timeout=_LOOK, return_when=asyncio.FIRST_COMPLETED)


def _stopped(tasks: Sequence[Task]) -> Task | None:
    """Return a paused task where nothing else moves, else None."""
    moving = any(task.state in {State.RUNNING, State.READY, State.SCHEDULED} and not task.paused for task in tasks)
    paused = (task for task in tasks if task.paused and not task.is_final)
    return None if moving else next(paused, None)


async def _look(client: Client, goal_id: str, resumed: bool) -> Snapshot:
    goal = await client.get_goal(goal_id)
    tasks: list[Task] = []
    cursor = None
    while True:
        page = await client.list_tasks(root=goal_id, goals=False, cursor=cursor, limit=_PAGE)
        tasks += [task.stored for task in page]
        cursor = page.cursor
        if cursor is None:
            return Snapshot(goal, tasks[::-1], resumed)


def _slots() -> int:
    # Reading is bound by processors; git and the coordinating tasks need a slot beside it.
    return min(8, (os.cpu_count() or 1) + 2)
