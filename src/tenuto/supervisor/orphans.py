"""Processes that an orchestrator has left behind, found and killed at the next start.

On Linux the kernel kills agents when their orchestrator dies; what they have started themselves, and agents elsewhere,
may outlive it if everything was killed at once. So each orchestrator notes the processes that it makes in a file of the
run directory: a process is known by its id and the time of its start, because ids are used again. Whoever starts next
in the same folder looks at the notes of orchestrators that are gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Sequence
from pathlib import Path

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.supervisor.run_directory import made_run_directory, run_directory

__all__ = ["ProcessNotes", "kill_orphans"]

log = logger("tenuto.supervisor")

_SUFFIX = ".processes"
_SAME = 0.02
"""Seconds by which two readings of one start may differ."""


class ProcessNotes:
    """The notes of this orchestrator. The file is there from its first process to `close`."""

    def __init__(self) -> None:
        self._path: Path | None = None

    def note(self, pid: int) -> None:
        """Notes a process. A run directory that cannot be used is told once, and no reason not to go on."""
        try:
            if self._path is None:
                path = made_run_directory() / f"{os.getpid()}-{os.urandom(4).hex()}{_SUFFIX}"
                path.write_text(_line(os.getpid()))
                self._path = path
            with self._path.open("a") as file:
                file.write(_line(pid))
        except (OSError, InvalidInput) as error:
            if self._path is None:
                self._path = Path(os.devnull)
                log.warning("processes cannot be noted: should they be left behind, they stay", why=str(error))

    def close(self) -> None:
        """Every process has ended."""
        if self._path is not None and self._path != Path(os.devnull):
            self._path.unlink(missing_ok=True)
        self._path = None


def kill_orphans() -> Sequence[int]:
    """Kills what orchestrators of this folder have left behind that are gone themselves; returns the ids."""
    killed: list[int] = []
    for path in run_directory().glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError, ValueError):
            if path.stat().st_uid != os.getuid():
                continue  # nobody else's notes decide whom we kill
            owner, *processes = _read(path.read_text())
            if _lives(*owner):
                continue
            for pid, started in processes:
                if _lives(pid, started):
                    with contextlib.suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
                    killed.append(pid)
            path.unlink(missing_ok=True)
    if killed:
        log.warning("an orchestrator that was killed had left processes behind; they were killed", pids=killed)
    return killed


def _line(pid: int) -> str:
    return f"{pid} {_started(pid) or 0.0:.3f}\n"


def _read(notes: str) -> list[tuple[int, float]]:
    """The processes in `notes`. What follows the last end of a line was cut off when the disk was full."""
    lines = [line.split() for line in notes[: notes.rfind("\n") + 1].splitlines()]
    return [(int(pid), float(started)) for pid, started in lines]


def _lives(pid: int, started: float) -> bool:
    now = _started(pid)
    return now is not None and abs(now - started) <= _SAME


def _started(pid: int) -> float | None:
    """When the process has begun, in seconds; None when there is none, or only its zombie."""
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.Error:
        return None
