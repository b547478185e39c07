"""Who listens to a store inside this process."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tenuto.stores.base import Hint

__all__ = ["Listeners"]


class Listeners:
    """Functions that are called with every hint, from any thread."""

    def __init__(self) -> None:
        self._all: dict[object, Callable[[Hint], None]] = {}

    def __bool__(self) -> bool:
        return bool(self._all)

    def add(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Calls `listener` from now on; returns how to stop."""
        key = object()
        self._all[key] = listener

        def stop() -> None:
            self._all.pop(key, None)

        return stop

    def call(self, hint: Hint) -> None:
        """Calls all of them. What one raises is shown like the end of a thread, and hurts no other."""
        for listener in list(self._all.values()):
            try:
                listener(hint)
            except Exception as error:  # noqa: BLE001  # it must not end this thread, on which everybody depends
                thread = threading.current_thread()
                threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
