"""The ledger: what really ran, written by the step bodies themselves, one append-only file per process.

A body appends its line before it returns. The ledger is not part of the store and knows nothing of leases, so it is
an independent witness: what it names happened, whatever the store says. Lines are not synced to the disk: a killed
process loses nothing that it has handed to the kernel, and the chaos tests kill processes, not machines.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Execution", "Lines", "count_lines", "read_ledger", "read_lines"]


class Execution(msgspec.Struct, frozen=True, array_like=True):
    """One run of a step's body."""

    task: str
    step: str
    attempt: int
    pid: int
    value: str
    at: float
    """by the machine's monotonic clock, in seconds: comparable between processes"""


class Lines:
    """Appends values as lines of JSON. A line is one write, so that lines of threads do not mix."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def add(self, *values: Any) -> None:
        os.write(self._file, b"".join(msgspec.json.encode(value) + b"\n" for value in values))

    def close(self) -> None:
        os.close(self._file)


class Ledger:
    """The ledger of this process, in the folder that the storm names in the environment."""

    def __init__(self) -> None:
        self._lines: Lines | None = None

    def note(self, task: str, step: str, attempt: int, value: str) -> None:
        if self._lines is None:
            self._lines = Lines(Path(os.environ["TENUTO_CHAOS_FOLDER"]) / "ledger" / f"{os.getpid()}.jsonl")
        self._lines.add(Execution(task, step, attempt, os.getpid(), value, time.monotonic()))


def read_lines(path: Path, type: Any = Any) -> Iterator[Any]:
    """The values of a file of `Lines`; a last line that a kill cut off is left out."""
    for line in path.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield msgspec.json.decode(line, type=type)


def read_ledger(folder: Path) -> list[Execution]:
    """Every execution that any process has noted."""
    return [line for path in sorted((folder / "ledger").glob("*.jsonl")) for line in read_lines(path, Execution)]


class _Tail:
    """How many lines a growing file has, reading each byte once."""

    def __init__(self) -> None:
        self.offset = 0
        self.lines = 0

    def count(self, path: Path) -> int:
        with path.open("rb") as file:
            file.seek(self.offset)
            data = file.read()
        self.offset += len(data)
        self.lines += data.count(b"\n")
        return self.lines


class count_lines:  # noqa: N801  # used as a function that remembers how far it has read
    """Counts the lines of all files in a folder, again and again, cheaply."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tails: dict[Path, _Tail] = {}

    def __call__(self) -> int:
        if not self._folder.is_dir():
            return 0
        return sum(self._tails.setdefault(path, _Tail()).count(path) for path in self._folder.glob("*.jsonl"))
