"""The append-only file of a Redis or Valkey server, cut off as a power cut would leave it.

A server that is killed has handed to the system whatever it answered, and loses none of it. A machine that loses its
power loses what was not flushed. Here the files are cut back to what they were at an earlier time, while the server is
down.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["cut_back", "sizes"]


def sizes(folder: Path) -> Mapping[Path, int]:
    """How long the log is now: its files, in the server's `folder`, with their sizes."""
    return {path: path.stat().st_size for path in folder.glob("**/*.aof")}


def cut_back(folder: Path, before: Mapping[Path, int]) -> int:
    """Takes away what was written since `before`; says how many bytes."""
    lost = 0
    for path, size in sizes(folder).items():
        lost += size - before.get(path, 0)
        os.truncate(path, before.get(path, 0))
    return lost
