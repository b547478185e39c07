"""Processes that stand still."""

from __future__ import annotations

import os
import signal
import time

import psutil

__all__ = ["freeze"]

LIMIT = 60.0
"""Seconds that a process may take to stand still."""


def freeze(pid: int) -> None:
    """Stops a process with SIGSTOP and returns when it stands still: on a busy machine one that has threads may work on
    for a while after the signal was sent. Nothing happens where there is none."""
    try:
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGSTOP)
        end = time.monotonic() + LIMIT
        while process.status() not in (psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE):
            assert time.monotonic() < end, f"process {pid} does not stand still"
            time.sleep(0.001)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
