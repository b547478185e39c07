"""When time will change which task: known in memory up to some instant, so that a claim need not ask for it."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush

from tenuto.tasks.clock import Millis

__all__ = ["MOST_READ", "Dues"]

MOST_READ = 512
"""Instants that are read together."""

_MOST_KEPT = 8_192
_ALL = (2**62, 0)


class Dues:
    """Instants by task. Complete up to `_end`; what comes later is not kept."""

    def __init__(self) -> None:
        self._at: dict[int, Millis] = {}
        self._heap: list[tuple[Millis, int]] = []
        self._end = (-1, 0)

    def learn(self, found: Iterable[tuple[Millis, int]]) -> None:
        """The earliest that there are, at most `MOST_READ`, in order."""
        self._heap = list(found)
        self._at = {number: at for at, number in self._heap}
        self._end = self._heap[-1] if len(self._heap) >= MOST_READ else _ALL

    def put(self, number: int, at: Millis | None) -> None:
        """The instant of one task is `at` now."""
        if at is None or (at, number) > self._end:
            self._at.pop(number, None)
        elif self._at.get(number) != at:
            self._at[number] = at
            heappush(self._heap, (at, number))
            if len(self._heap) > _MOST_KEPT:
                self._tidy()

    def first(self) -> tuple[Millis | None, bool]:
        """The earliest instant, None where there is none; and whether that is known."""
        heap = self._heap
        while heap and self._at.get(heap[0][1]) != heap[0][0]:
            heappop(heap)
        if heap:
            return heap[0][0], True
        return None, self._end == _ALL

    def _tidy(self) -> None:
        self._heap = sorted((at, number) for number, at in self._at.items())
        if len(self._heap) > _MOST_KEPT // 2:
            for _, number in self._heap[_MOST_KEPT // 2 :]:
                del self._at[number]
            del self._heap[_MOST_KEPT // 2 :]
            self._end = self._heap[-1]
        heapify(self._heap)
