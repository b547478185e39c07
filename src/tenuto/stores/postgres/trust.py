"""Whether a program may count on nobody else having written since its last transaction.

Where it errs, a round trip and what it remembers of the store are lost; where it is right, a round trip is saved. Hints
of others say that they have written. What writes without hints is found out by erring, and after each error it is left
alone for longer.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Trust"]

_LONGEST = 63


class Trust:
    """What one writer has seen of the others."""

    def __init__(self, heard: Callable[[], int]) -> None:
        """`heard`: how many hints of others have come so far."""
        self._heard = heard
        self._seen = heard()
        self._doubt = 0
        self._wary = 0
        """transactions that ask first"""

    def counts(self) -> bool:
        """Whether the transaction that is about to begin may count on it."""
        heard = self._heard()
        quiet, self._seen = heard == self._seen, heard
        if self._wary:
            self._wary -= 1
            return False
        return quiet

    def kept(self) -> None:
        """It was so."""
        self._doubt //= 2

    def broken(self) -> None:
        """It was not."""
        self._doubt = min(2 * self._doubt + 1, _LONGEST)
        self._wary = self._doubt
