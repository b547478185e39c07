"""Names and ids: what is allowed, how ours are made, how a child's id follows from its parent.

A task's id carries its root before the first ".", which is therefore reserved: people may not
use it in the ids they choose. (A goal's node that has a free id of its own is the one exception;
its record names its root.)
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import time

from tenuto.errors import InvalidInput

__all__ = ["LONGEST_NAME", "check_id", "check_name", "child_id", "is_name", "new_id", "node_id", "root_of"]

LONGEST_NAME = 255
"""Characters in an id, a name, a key or a tag."""

_last = [0, 0]
_lock = threading.Lock()
os.register_at_fork(after_in_child=lambda: _last.__setitem__(slice(None), [0, 0]))


def new_id(prefix: str = "task") -> str:
    """A fresh id, `<prefix>-<uuid7>`: unique anywhere, and later ids sort after earlier ones.

    The 74 bits after the time are a counter that starts at random each millisecond (RFC 9562, 6.2, method 2).
    """
    with _lock:
        now = time.time_ns() // 1_000_000
        then, count = _last
        if now > then:
            count = int.from_bytes(os.urandom(9), "big")  # 72 bits: never overflows the 74 in one millisecond
        else:
            now, count = then, count + 1
        _last[:] = now, count
    high = (now << 16) | 0x7000 | (count >> 62)
    low = (0b10 << 62) | (count & 0x3FFF_FFFF_FFFF_FFFF)
    text = f"{high:016x}{low:016x}"
    return f"{prefix}-{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def root_of(task_id: str) -> str:
    """The root that `task_id` names: the part before its first dot."""
    return task_id.partition(".")[0]


def child_id(root: str, parent: str, step: str, epoch: int = 0) -> str:
    """The id of the child that `parent` spawns in `step`; the same call after a crash gives the same id.

    `epoch` counts how often the parent was started over with an empty journal.
    """
    text = f"{parent}\x1f{step}\x1f{epoch}".encode()
    digest = hashlib.blake2b(text, digest_size=15).digest()
    return f"{root}.{base64.b32encode(digest).decode().lower()}"


def node_id(goal: str, node: str) -> str:
    """The task id of a goal's node whose own id is already taken."""
    return f"{goal}.{node}"


def is_name(name: object) -> bool:
    """Whether `name` can be a name, key or tag."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def check_name(name: str, field: str) -> str:
    """`name` itself when it can be a name, key or tag; else `InvalidInput` that names `field`."""
    if not isinstance(name, str):
        raise InvalidInput(f"{field} must be text, not {type(name).__name__}")
    if not name or len(name) > LONGEST_NAME:
        raise InvalidInput(f"{field} must have 1 to {LONGEST_NAME} characters, not {len(name)}")
    if not name.isprintable():
        raise InvalidInput(f"{field} {name[:40]!r} has a control or unprintable character: use visible characters only")
    return name


def check_id(task_id: str, field: str = "id") -> str:
    """`task_id` itself when people may choose it; else `InvalidInput`."""
    check_name(task_id, field)
    if "." in task_id:
        raise InvalidInput(f"{field} {task_id!r} contains a dot, which separates a root from its tasks: choose another")
    if task_id != task_id.strip() or " " in task_id or "/" in task_id:
        raise InvalidInput(f"{field} {task_id!r} contains a space or a slash: choose another")
    return task_id
