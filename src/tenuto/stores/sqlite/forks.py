"""Files that a process may not open, because they were open when it was forked off.

A lock belongs to a process, and SQLite remembers in memory which ones it holds. A forked process inherits the memory
and not the locks: its SQLite relies on locks that nobody holds. The parent, which closes the file, then removes the log
that the child writes to; or a lock that the parent's writer held for a moment is, to the child, held for ever. New
connections do not help, for SQLite shares what it knows of a file between them. So such a file is refused.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

from tenuto.errors import StoreClosed

__all__ = ["check_fork", "note_closed", "note_opened"]

_open: dict[Path, int] = {}
"""How many stores of this process are open on each file."""
_inherited: set[Path] = set()
_lock = threading.Lock()


def note_opened(path: Path) -> None:
    """A store is being opened on the file at `path`. Raises `StoreClosed` where a fork forbids that."""
    check_fork(path)
    file = path.resolve()
    with _lock:
        _open[file] = _open.get(file, 0) + 1


def note_closed(path: Path) -> None:
    """A store on the file at `path` was closed."""
    file = path.resolve()
    with _lock:
        left = _open.pop(file, 1) - 1
        if left > 0:
            _open[file] = left


def check_fork(path: Path) -> None:
    """Raises `StoreClosed` when the file at `path` was open in the process that this one was forked from."""
    if path.resolve() in _inherited:
        raise StoreClosed(
            f"the store {path} was open when this process was forked off, and a connection does not survive a fork: "
            "start processes with the method 'spawn', or open the store only after the fork"
        )


def _forked() -> None:
    _inherited.update(_open)
    _open.clear()
    _lock.release()


os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_forked)
