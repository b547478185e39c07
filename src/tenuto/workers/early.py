"""Values that a program has before they are durable: they go with the next record, and do not wait for it for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from tenuto.tasks.outcome import Step

__all__ = ["Early"]

_LONGEST = 0.05
"""Seconds after which they are recorded by themselves."""


class Early:
    """Entries of one journal that the next record takes along."""

    def __init__(self, record: Callable[[], None]) -> None:
        """record: called when no record has come for 50 ms."""
        self.steps: tuple[Step, ...] = ()
        self.blobs: Mapping[str, bytes] = {}
        self._record = record
        self._timer: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return bool(self.steps)

    def add(self, steps: tuple[Step, ...], blobs: Mapping[str, bytes]) -> None:
        """Has `steps` wait for the next record, with the large values that they refer to."""
        if steps:
            self.steps, self.blobs = (*steps, *self.steps), {**blobs, **self.blobs}
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(_LONGEST, self._record)

    def clear(self) -> None:
        """A record takes them along."""
        self.steps, self.blobs = (), {}
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
