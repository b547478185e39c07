"""Worker processes of every system, and the board on which their tasks note when they ran.

A worker process announces itself on stdout, begins with the first line on stdin and ends when stdin does. Its task
bodies write to a board, a small file that it shares with the bench, so that nobody has to ask a store while it is
measured. Instants are of the machine's monotonic clock, which is one for all processes.

`python -m bench.crew MODULE:FUNCTION URL CONCURRENCY BOARD SLOT` is such a process: it calls the function with a
`Post`.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
import threading
import time
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from types import TracebackType

__all__ = ["SAMPLES", "Board", "Crew", "Post"]

SLOTS = 8
SAMPLES = 4_096
"""Most starts that a board notes one by one."""

_FIELDS = 3
"""For each slot: tasks that ran, the instant of the first, the instant of the last."""


class Board:
    """What the tasks of all processes note."""

    def __init__(self, path: Path, slot: int = 0) -> None:
        size = 8 * (SLOTS * _FIELDS + SAMPLES)
        if not path.exists():
            path.write_bytes(bytes(size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)
        self._values = memoryview(self._map).cast("d")
        self._own = slot * _FIELDS
        self._lock = threading.Lock()

    def ran(self, sample: int = 0) -> float:
        """Called first thing by every task body; `sample`: above 0 to have its start noted. The instant."""
        now = time.monotonic()
        values, own = self._values, self._own
        with self._lock:
            values[own] += 1
            if not values[own + 1]:
                values[own + 1] = now
            values[own + 2] = now
        if sample:
            values[SLOTS * _FIELDS + sample] = now
        return now

    def start_of(self, sample: int) -> float:
        """When it began; 0: not yet."""
        return self._values[SLOTS * _FIELDS + sample]

    @property
    def total(self) -> int:
        """Tasks that ran."""
        return int(sum(self._values[slot * _FIELDS] for slot in range(SLOTS)))

    @property
    def seconds(self) -> float:
        """From the first start to the last."""
        began = [self._values[slot * _FIELDS + 1] for slot in range(SLOTS) if self._values[slot * _FIELDS]]
        ended = [self._values[slot * _FIELDS + 2] for slot in range(SLOTS) if self._values[slot * _FIELDS]]
        return max(ended) - min(began)

    def wait_for(self, count: int, seconds: float) -> None:
        """Until `count` tasks ran. Raises `RuntimeError` when that takes longer than `seconds`."""
        until = time.monotonic() + seconds
        while (total := self.total) < count:
            if time.monotonic() > until:
                raise RuntimeError(f"{total} of {count} tasks ran in {seconds:g} s")
            time.sleep(0.005)

    def close(self) -> None:
        self._values.release()
        self._map.close()


class Post:
    """What a worker process is told, and how it keeps in step with the bench."""

    def __init__(self, url: str, concurrency: int, board: Board) -> None:
        self.url = url
        self.concurrency = concurrency
        self.board = board

    def ready(self) -> None:
        """Announces the process and waits for the word to begin. Blocks."""
        print("ready", flush=True)
        sys.stdin.readline()

    def over(self) -> None:
        """Returns when the bench has what it wants. Blocks."""
        sys.stdin.read()


class Crew(AbstractContextManager["Crew"]):
    """Worker processes: ready on entering, at work after `go`, ended on leaving."""

    def __init__(self, target: str, url: str, processes: int, concurrency: int, board: Path) -> None:
        """`target`: the function that serves, as `module:function`."""
        self._commands = [
            [sys.executable, "-m", "bench.crew", target, url, str(concurrency), str(board), str(slot)]
            for slot in range(processes)
        ]
        self.board = Board(board)
        self.processes: list[subprocess.Popen[str]] = []

    def __enter__(self) -> Crew:
        for command in self._commands:
            self.processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        for process in self.processes:
            assert process.stdout is not None
            while (line := process.stdout.readline()).strip() != "ready":
                if not line:
                    raise RuntimeError("a worker process did not start")
        return self

    def go(self) -> None:
        """They begin."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self.processes:
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self.board.close()


def main(target: str, url: str, concurrency: str, board: str, slot: str) -> None:
    module, function = target.split(":")
    getattr(import_module(module), function)(Post(url, int(concurrency), Board(Path(board), int(slot))))
    sys.stdout.flush()
    os._exit(0)  # threads of a system that know no end hold nothing up


if __name__ == "__main__":
    main(*sys.argv[1:])
