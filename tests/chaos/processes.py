"""The processes of a storm. Only what was started here is ever signalled, by its own handle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Child", "Children"]

_ROOT = Path(__file__).resolve().parents[2]
_CLOCK = Path(__file__).parent / "clock"
"""On its path, a process has a shifted wall clock."""


class Child:
    """One process, of which it is known at any time whether it is frozen."""

    def __init__(self, name: str, arguments: Sequence[str], folder: Path, log: Path, clock: float = 0.0) -> None:
        self.name = name
        self.log = log
        self.thaw_at: float | None = None
        """by the monotonic clock; None: it is not frozen"""
        self.started_at = time.monotonic()
        shifted = str(_CLOCK) if clock else None
        paths = os.pathsep.join(filter(None, (shifted, str(_ROOT), os.environ.get("PYTHONPATH"))))
        environment = os.environ | {
            "TENUTO_CHAOS_FOLDER": str(folder),
            "TENUTO_CHAOS_CLOCK": f"{clock}",
            "PYTHONPATH": paths,
        }
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=_ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it lives."""
        return self._process.poll()

    @property
    def age(self) -> float:
        """Seconds since it was started."""
        return time.monotonic() - self.started_at

    def kill(self) -> None:
        """SIGKILL, and waits until it is gone. A frozen process dies of it too."""
        self._process.kill()
        self._process.wait()

    def freeze(self, seconds: float) -> None:
        """SIGSTOP; `thaw` continues it once the time is over."""
        if self.exit_code is None and self.thaw_at is None:
            self._process.send_signal(signal.SIGSTOP)
            self.thaw_at = time.monotonic() + seconds

    def thaw(self) -> None:
        if self.thaw_at is not None and self.exit_code is None:
            self._process.send_signal(signal.SIGCONT)
        self.thaw_at = None

    def end(self, seconds: float) -> int | None:
        """SIGTERM, and SIGKILL when it has not gone after so many seconds; its exit code, None when it was killed."""
        self.thaw()
        if self.exit_code is None:
            self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None


class Children:
    """All processes of one storm; leaving the block ends those that are left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Child] = []
        self._numbers: dict[str, int] = {}

    def start(self, name: str, module: str, *arguments: str, clock: float = 0.0) -> Child:
        """Runs `module` of the chaos tests (or any other importable one) as a process of its own.

        `clock`: so many seconds its wall clock is ahead.
        """
        number = self._numbers[name] = self._numbers.get(name, 0) + 1
        logs = self._folder / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        child = Child(name, ["-m", module, *arguments], self._folder, logs / f"{name}-{number}.log", clock)
        self._all.append(child)
        return child

    @property
    def started(self) -> int:
        return len(self._all)

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *error: object) -> None:
        for child in self._all:
            if child.exit_code is None:
                child.kill()
