"""What processes use of the machine: CPU and memory, by process id."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

__all__ = ["ResourceMeter", "Usage"]


@dataclass(frozen=True)
class Usage:
    """What one process uses."""

    cpu_percent: float
    """of one core, since it was measured before; the first time since it was started"""
    memory_bytes: int
    """resident"""
    threads: int


class ResourceMeter:
    """Measures the same processes again and again. Safe from any thread."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}
        self._lock = threading.Lock()

    def measure(self, pids: Collection[int]) -> Mapping[int, Usage]:
        """The usage of each process that lives; others, those of another user included, are left out."""
        import psutil

        found: dict[int, Usage] = {}
        with self._lock:
            self._known = {pid: process for pid, process in self._known.items() if pid in pids}
            for pid in pids:
                try:
                    process = self._known.get(pid)
                    if process is not None and process.is_running():  # else the number may be another process's by now
                        cpu = process.cpu_percent()
                    else:
                        process = self._known[pid] = psutil.Process(pid)
                        process.cpu_percent()
                        used = process.cpu_times()
                        cpu = (used.user + used.system) / max(time.time() - process.create_time(), 0.01) * 100
                    with process.oneshot():
                        found[pid] = Usage(round(cpu, 1), process.memory_info().rss, process.num_threads())
                except psutil.Error:
                    self._known.pop(pid, None)
        return found
