"""Waking a thread that polls descriptors, from any other thread."""

from __future__ import annotations

import contextlib
import os
import threading

__all__ = ["Doorbell"]


class Doorbell:
    """A descriptor that becomes readable when somebody rings. `ring` after `close` does nothing."""

    def __init__(self) -> None:
        self._outside, self._inside = os.pipe()
        os.set_blocking(self._outside, False)
        os.set_blocking(self._inside, False)
        self._lock = threading.Lock()
        self._closed = False

    def fileno(self) -> int:
        """The descriptor to poll for reading."""
        return self._outside

    def ring(self) -> None:
        """Wakes whoever polls."""
        with self._lock:  # a closed descriptor's number may be somebody else's file by now
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # it is full: the thread is awake
                    os.write(self._inside, b"\0")

    def answer(self) -> None:
        """Stops being readable until it rings again."""
        with contextlib.suppress(BlockingIOError):
            while len(os.read(self._outside, 4096)) == 4096:
                pass

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._outside)
                os.close(self._inside)
