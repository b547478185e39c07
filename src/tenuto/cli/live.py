"""Watching a goal while it runs: a picture that moves on a terminal, a line per change anywhere else.

What is shown is read from the store again and again, and never takes more than a tenth of the time: a goal of ten
thousand tasks is drawn less often than one of ten.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tenuto.cli.graph import detail, draw_goal, headline
from tenuto.cli.output import GLYPHS, STYLES, errors_console, plain, writes_unicode
from tenuto.cli.stuck import holding_task
from tenuto.errors import TaskCancelled, TaskFailed
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.goal import Goal
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Task

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["GoalScreen", "Watched", "picture", "watch_goal"]

_SOONEST = 0.1
_LATEST = 5.0
_SHARE = 10
"""Reading takes at most one part in so many of the time."""
_HELD = 3
"""Looks in a row at which nothing can go on, before it is believed: a worker may be about to report."""
_MANY = 200
"""From this many tasks on, lines count instead of naming each task."""
_TOO_MANY = 2_000
"""From this many tasks on, nothing is drawn but what runs: drawing would take the time of the work."""


class GoalScreen:
    """Shows a goal on standard error, again and again; used as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._out = errors_console()
        self._lines = _Lines(self._out)
        self._quiet = quiet
        self._live: Live | None = None
        if self._out.is_terminal and not quiet:
            self._live = Live(console=self._out, transient=True, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, goal: Goal) -> None:
        """Draws `goal` as it is now."""
        if self._live is not None:
            self._live.update(picture(goal, wall_clock(), self._out), refresh=True)
        elif not self._quiet:
            self._lines.show(goal)


class Watched(NamedTuple):
    """A goal as it was when watching it ended."""

    goal: Goal
    holding: Task | None
    """the paused task without which an unfinished goal cannot go on"""


async def watch_goal(client: Client, goal_id: str, *, quiet: bool = False) -> Watched:
    """Shows the goal until it has ended, or cannot go on."""
    ended = asyncio.ensure_future(client.get_task_result(goal_id))
    try:
        with GoalScreen(quiet=quiet) as screen:
            return await _watch(client, goal_id, ended, screen.show)
    finally:
        ended.cancel()
        await asyncio.gather(ended, return_exceptions=True)


async def _watch(client: Client, goal_id: str, ended: asyncio.Future[object], show: Callable[[Goal], None]) -> Watched:
    held = 0
    while True:
        over = ended.done()
        if over and not ended.cancelled() and not isinstance(ended.exception(), TaskFailed | TaskCancelled | None):
            await ended  # the store went away: say so
        began = time.monotonic()
        goal = await client.get_goal(goal_id)
        show(goal)
        if goal.task.is_final:
            return Watched(goal, None)
        holding = await holding_task(client, goal)
        held = held + 1 if holding is not None else 0
        if held >= _HELD:
            return Watched(goal, holding)
        pause = min(max(_SOONEST, (time.monotonic() - began) * _SHARE), _LATEST)
        await (asyncio.sleep(pause) if over else asyncio.wait({ended}, timeout=pause))


def picture(goal: Goal, now: Millis, out: Console) -> Group:
    """The goal as it is drawn on the terminal `out`, no taller than it."""
    if len(goal.nodes) > _TOO_MANY:
        lines = [headline(goal, now), *_at_work(goal, now, out.height)]
    else:
        lines = draw_goal(goal, now, width=out.width, ascii_only=not writes_unicode(out))
    ended = sum(task.is_final for task in goal.nodes)
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        ProgressBar(total=max(len(goal.nodes), 1), completed=ended, width=min(40, max(out.width - 16, 8))),
        f"{ended:,}/{len(goal.nodes):,}",
    )
    return Group(lines[0], bar, *_window(lines[1:], max(out.height - 4, 3)))


def _at_work(goal: Goal, now: Millis, most: int) -> list[Text]:
    """A line for each task that runs, at most `most`."""
    running = (task for task in goal.nodes if task.state is State.RUNNING)
    return [
        Text().append("▶ ", STYLES[State.RUNNING]).append(plain(f"{task.node or task.id}  {detail(task, now)}"))
        for task in islice(running, most)
    ]


def _window(lines: list[Text], height: int) -> list[Text]:
    """The part of the picture where work goes on."""
    if len(lines) <= height:
        return lines
    glyphs = tuple(GLYPHS[state] for state in State if state not in FINAL)
    first = next((at for at, line in enumerate(lines) if any(glyph in line.plain for glyph in glyphs)), 0)
    start = max(0, min(first - 2, len(lines) - height + 2))
    shown = lines[start : start + height - 2]
    above = Text(f"… {start} lines above" if start else "", "bright_black")
    below = Text(f"… {len(lines) - start - len(shown)} lines below", "bright_black")
    return [above, *shown, below]


class _Lines:
    """Without a terminal: one line for each task that ended, or that needs somebody."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._seen: dict[str, tuple[State, bool, int]] = {}
        self._counted = ""

    def show(self, goal: Goal) -> None:
        first = not self._seen
        now = wall_clock()
        for task in goal.nodes:
            before = self._seen.get(task.id)
            seen = (task.state, task.paused, task.attempt)
            self._seen[task.id] = seen
            if before == seen or (first and task.is_final) or len(goal.nodes) > _MANY:
                continue
            if task.is_final or task.paused or task.state is State.SCHEDULED:
                self._line(task, now)
        if len(goal.nodes) > _MANY:
            counts = Counter(task.state for task in goal.nodes)
            line = headline(goal, now).plain.rpartition("  ")[0]
            if str(counts) != self._counted:
                self._counted = str(counts)
                self._out.print(line, soft_wrap=True)

    def _line(self, task: Task, now: Millis) -> None:
        line = Text().append(f"{'paused' if task.paused else task.state.value:<10}", STYLES[task.state])
        line.append(plain(task.node or task.id))
        said = plain(task.reason) if task.paused else detail(task, now)
        self._out.print(line.append(f"  {said}" if said else ""), soft_wrap=True)
