"""Whether a program may count on nobody else having written since its last transaction.

Where it errs, a round trip and what it remembers of the store are lost; where it is right, a round trip is saved. Where
others have been seen at work a moment ago, they probably still are. What writes now and then without a hint is found
out by erring, and after each error nothing is counted on for longer.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

__all__ = ["Trust"]

_MOMENT = 0.25
"""Seconds for which others count as being at work."""
_LONGEST = 63


class Trust:
    """What one writer has seen of the others."""

    def __init__(self, heard: Callable[[], int], clock: Callable[[], float] = time.monotonic) -> None:
        """`heard`: how many hints of others have come so far. `clock`: seconds."""
        self._heard = heard
        self._clock = clock
        self._seen = heard()
        self._met = -math.inf
        """when others were last seen at work"""
        self._doubt = 0
        self._wary = 0
        """transactions that ask first"""

    def counts(self) -> bool:
        """Whether the transaction that is about to begin may count on it."""
        heard = self._heard()
        if heard != self._seen:
            self._seen = heard
            self.met()
        if self._wary:
            self._wary -= 1
            return False
        return self._clock() >= self._met + _MOMENT

    def met(self) -> None:
        """Others have just been at work."""
        self._met = self._clock()

    def kept(self) -> None:
        """What was counted on was so."""
        self._doubt //= 2

    def broken(self) -> None:
        """It was not."""
        self.met()
        self._doubt = min(2 * self._doubt + 1, _LONGEST)
        self._wary = self._doubt
