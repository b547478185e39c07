"""Output: tables that fit the terminal, JSON for programs, state colours where there is a terminal.

A table in a terminal is made to fit: columns that may be shortened are, then the least important ones are left out.
Ids are never shortened, so that they can be copied. Into a pipe everything is written in full, whatever its width,
unless COLUMNS says otherwise.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from tenuto.tasks.states import State

__all__ = [
    "GLYPHS",
    "STYLES",
    "Column",
    "console",
    "errors_console",
    "fit",
    "plain",
    "print_json",
    "print_json_line",
    "print_table",
    "remark",
    "state_text",
    "table_lines",
    "width_of",
    "writes_unicode",
]

STYLES = {
    State.BLOCKED: "bright_black",
    State.READY: "yellow",
    State.SCHEDULED: "magenta",
    State.RUNNING: "bold cyan",
    State.WAITING: "blue",
    State.DONE: "green",
    State.FAILED: "bold red",
    State.CANCELLED: "bright_black",
}

GLYPHS = {
    State.BLOCKED: "·",
    State.READY: "○",
    State.SCHEDULED: "◔",
    State.RUNNING: "▶",
    State.WAITING: "◌",
    State.DONE: "✓",
    State.FAILED: "✗",
    State.CANCELLED: "⊘",
}

_GAP = 2
_UNLIMITED = 100_000


class _Quiet(Console):
    """A console that leaves a broken pipe to whoever runs the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console() -> Console:
    """Standard output. Rich decides about colours: a terminal, NO_COLOR, TERM=dumb."""
    return _Quiet(highlight=False, markup=False, emoji=False, soft_wrap=False)


def errors_console() -> Console:
    """Standard error: progress, confirmations, remarks that are not the command's output."""
    return _Quiet(stderr=True, highlight=False, markup=False, emoji=False)


def remark(text: str) -> None:
    """Says something beside the output, on standard error."""
    errors_console().print(text, style="bright_black", soft_wrap=True)


def writes_unicode(out: Console) -> bool:
    """Whether more than ASCII arrives where `out` writes."""
    return (out.encoding or "").lower().startswith("utf")


def width_of(out: Console) -> int:
    """How many columns a line may have: the terminal's, or what COLUMNS says, else as many as it takes."""
    return out.width if out.is_terminal or os.environ.get("COLUMNS", "").isdigit() else _UNLIMITED


@dataclass(frozen=True)
class Column:
    """A column of a table and how it gives way when the terminal is narrow."""

    title: str
    rank: int = 0
    """the column of the highest rank is left out first; 0: never left out"""
    least: int | None = None
    """may be shortened down to this many cells; None: never shortened"""
    right: bool = False


def plain(text: str) -> str:
    """`text` on one line, with everything visible that a terminal would obey."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else " " if char in "\n\t\r" else f"\\x{ord(char):02x}" for char in text
    ).strip()


def fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> dict[int, int]:
    """The columns that are shown in `width` cells, by position, each with its width."""
    shown = {at: max(size, cell_len(columns[at].title)) for at, size in enumerate(natural)}
    while True:
        over = sum(shown.values()) + _GAP * (len(shown) - 1) - width
        if over <= 0:
            return shown
        slack = {at: size - least for at, size in shown.items() if (least := columns[at].least) and size > least}
        if sum(slack.values()) >= over:
            for at in sorted(slack, key=lambda each: -slack[each]):
                cut = min(slack[at], over)
                shown[at] -= cut
                over -= cut
            return shown
        droppable = [at for at in shown if columns[at].rank]
        if not droppable:
            return {at: columns[at].least or size for at, size in shown.items()}
        del shown[max(droppable, key=lambda each: columns[each].rank)]


def print_table(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], empty: str) -> None:
    """Writes a table, or the sentence `empty` when there are no rows."""
    for line in table_lines(out, columns, rows, empty):
        out.print(line, soft_wrap=True)


def table_lines(
    out: Console, columns: Sequence[Column], rows: Sequence[Sequence[str | Text]], empty: str
) -> list[Text]:
    """The lines of a table for `out`, or the sentence `empty` when there are no rows."""
    if not rows:
        return [Text(empty)]
    cells = [[cell if isinstance(cell, Text) else Text(plain(cell)) for cell in row] for row in rows]
    natural = [max(cell_len(row[at].plain) for row in cells) for at in range(len(columns))]
    shown = {
        at: size for at, size in fit(columns, natural, width_of(out)).items() if any(row[at].plain for row in cells)
    }
    title = _line([Text(columns[at].title, "bold") for at in shown], columns, shown)
    return [title, *(_line([row[at] for at in shown], columns, shown) for row in cells)]


def _line(cells: Sequence[Text], columns: Sequence[Column], shown: dict[int, int]) -> Text:
    line = Text()
    for (at, size), cell in zip(shown.items(), cells, strict=True):
        pad = size - cell_len(cell.plain)
        if pad < 0:
            cell = Text(set_cell_size(cell.plain, size - 1) + "…", cell.style)
            pad = 0
        line.append(" " * pad if columns[at].right else "")
        line.append_text(cell)
        line.append("" if columns[at].right else " " * pad)
        line.append(" " * _GAP)
    line.rstrip()
    return line


def state_text(state: State, *, paused: bool = False) -> Text:
    """A state in its colour, upper case as people see it."""
    text = Text(state.value.upper(), STYLES[state])
    return text.append(" (paused)", "yellow") if paused else text


def print_json(document: Any) -> None:
    """Writes one JSON document."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_json_line(document: Any) -> None:
    """Writes one JSON document on one line, at once: part of a stream."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n")
    sys.stdout.flush()
