"""Tasks and goals as tables."""

from __future__ import annotations

from collections.abc import Sequence

from tenuto.cli.graph import detail
from tenuto.cli.output import Column, console, print_table, state_text
from tenuto.cli.times import relative, span
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.task import Task

__all__ = ["print_goals", "print_tasks"]

_COLUMNS = (
    Column("ID"),
    Column("STATE"),
    Column("AGENT", rank=2, least=8),
    Column("SINCE", rank=3),
    Column("DETAIL", rank=1, least=16),
    Column("TITLE", rank=4, least=12),
    Column("OWNER", rank=5, least=8),
    Column("TRY", rank=6, right=True),
)

_GOAL_COLUMNS = (
    Column("ID"),
    Column("STATE"),
    Column("TITLE", rank=2, least=12),
    Column("CREATED", rank=3),
    Column("TOOK", rank=4),
    Column("DETAIL", rank=1, least=16),
    Column("OWNER", rank=5, least=8),
    Column("RUN", rank=6, right=True),
)


def print_tasks(tasks: Sequence[Task], empty: str) -> None:
    """Writes `tasks` as a table, or the sentence `empty`."""
    now = wall_clock()
    rows = [
        (
            task.id,
            state_text(task.state, paused=task.paused),
            task.agent,
            relative(task.since, now),
            detail(task, now),
            task.title,
            task.owner,
            _try(task),
        )
        for task in tasks
    ]
    print_table(console(), _COLUMNS, rows, empty)


def _try(task: Task) -> str:
    """Which try in a row this is, where one has failed or lost its worker; waits and hand-backs are none."""
    spoilt = task.failures + task.losses
    return str(spoilt + (not task.is_final)) if spoilt else ""


def print_goals(goals: Sequence[Task], empty: str) -> None:
    """Writes `goals` as a table, or the sentence `empty`."""
    now = wall_clock()
    rows = [
        (
            goal.id,
            state_text(goal.state, paused=goal.paused),
            goal.title,
            relative(goal.created_at, now),
            span((goal.finished_at or now) - goal.created_at),
            goal.reason or (f"{goal.unmet} tasks to go" if not goal.is_final else ""),
            goal.owner,
            str(goal.run) if goal.run > 1 else "",
        )
        for goal in goals
    ]
    print_table(console(), _GOAL_COLUMNS, rows, empty)
