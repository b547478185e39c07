"""A bar for long work of a known or unknown number of items, on standard error of a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tenuto.cli.output import errors_console

__all__ = ["Counter", "counting"]


class Counter:
    """How many items were dealt with."""

    def __init__(self, bars: Progress, bar: TaskID) -> None:
        self.count = 0
        self._bars = bars
        self._bar = bar

    def add(self, count: int) -> None:
        """`count` more."""
        self.count += count
        self._bars.advance(self._bar, count)


@contextmanager
def counting(what: str, total: int | None) -> Iterator[Counter]:
    """Shows a bar while the block runs; nothing of it stays."""
    out = errors_console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=out, transient=True, disable=not out.is_terminal) as bars:
        yield Counter(bars, bars.add_task(what, total=total))
