"""Sockets of this process that no fork of it may keep.

A fork (`os.fork`, `multiprocessing` where it forks) copies every descriptor. A child that outlives a killed
orchestrator would hold its sockets open: its agents would not learn that it is gone, and the next orchestrator would
find its command socket in use. So the child closes them at once. A program that is executed never has them.
"""

from __future__ import annotations

import os
import socket
from weakref import WeakSet

__all__ = ["not_inherited"]

_ours: WeakSet[socket.socket] = WeakSet()


def not_inherited(link: socket.socket) -> socket.socket:
    """`link`, which forked children close."""
    _ours.add(link)
    return link


def _close_all() -> None:
    for link in list(_ours):
        link.close()


os.register_at_fork(after_in_child=_close_all)
