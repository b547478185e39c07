"""Asking a server in another process, again and again: how long each answer takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROWS", "round_trips", "served"]

ROWS = [{"name": f"agent-{number}", "state": "RUNNING", "pid": 1_000 + number, "seconds": 1.5} for number in range(10)]
"""What a server that is no orchestrator answers: as many rows as Tenuto has agents."""
_ROOT = Path(__file__).resolve().parents[2]


def round_trips(ask: Callable[[], object], count: int) -> Mapping[str, float]:
    """The median and the 95th percentile of `count` questions, after some that do not count; milliseconds."""
    for _ in range(min(count, 50)):
        ask()
    times = []
    for _ in range(count):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1_000)
    return {"commands.p50": statistics.median(times), "commands.p95": statistics.quantiles(times, n=20)[-1]}


@contextmanager
def served(module: str, *arguments: str) -> Iterator[str]:
    """Runs `python -m module arguments`, which prints its address when it answers and ends when its input does."""
    server = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdin is not None
    assert server.stdout is not None
    try:
        address = server.stdout.readline().strip()
        if not address:
            raise RuntimeError(f"{module} has ended before it answered")
        yield address
    finally:
        server.stdin.close()
        server.wait(30)
        server.stdout.close()
