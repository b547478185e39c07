"""What the beginning of a transaction finds: where the store stands, and what time it is by the server's clock."""

from __future__ import annotations

import time
from typing import NamedTuple

from tenuto.tasks.clock import Millis

__all__ = ["Opening", "ServerTime"]


class Opening(NamedTuple):
    """What the beginning of a transaction has found."""

    version: int
    mark: int
    number: int
    cursor: int
    clock: Millis
    server: Millis
    """the server's time"""
    follows: bool
    """whether `base` is the transaction that was known"""
    base: int
    changes: str | None
    """what was changed after transaction `base`, as JSON"""

    @property
    def state(self) -> tuple[int, int]:
        """Which transaction was the last one. Not the version alone: after a failover it may come a second time."""
        return self.version, self.mark


class ServerTime:
    """The server's clock as it can be told without asking: by the monotonic one, and what the server said before.

    What it says was so at some moment between the question and the answer. The narrowest bounds count, until an answer
    contradicts them.
    """

    def __init__(self) -> None:
        self._asked: Millis = 0
        self._ahead: Millis | None = None
        """by how much the server's clock is ahead of the monotonic one, at least"""

    def ask(self) -> None:
        """A question is about to be sent."""
        self._asked = _monotonic()

    def learn(self, server: Millis) -> None:
        """The answer."""
        least, most = server - _monotonic(), server + 1 - self._asked
        self._ahead = least if self._ahead is None else min(max(self._ahead, least), most)

    @property
    def now(self) -> Millis:
        """What the server's clock shows, by and large; 0 where it was never asked."""
        return 0 if self._ahead is None else _monotonic() + self._ahead


def _monotonic() -> Millis:
    return time.monotonic_ns() // 1_000_000
