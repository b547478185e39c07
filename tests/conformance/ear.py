"""A listener that tests can wait on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tenuto.stores.base import Hint, Store

__all__ = ["Ear", "ready", "told"]

PATIENCE = 60.0
"""Seconds after which a hint counts as lost."""


class Ear:
    """Listens, from any thread, and can be waited on."""

    def __init__(self, store: Store) -> None:
        self.loop = asyncio.get_running_loop()
        self.hints: list[Hint] = []
        self.heard = asyncio.Event()
        self.stop = store.listen(self.listen)

    def listen(self, hint: Hint) -> None:
        self.loop.call_soon_threadsafe(self.note, hint)

    def note(self, hint: Hint) -> None:
        self.hints.append(hint)
        self.heard.set()

    async def until(self, is_heard: Callable[[Hint], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not any(is_heard(hint) for hint in self.hints):
                self.heard.clear()
                await self.heard.wait()


def ready(agent: str) -> Callable[[Hint], bool]:
    return lambda hint: agent in hint.ready


def told(task_id: str) -> Callable[[Hint], bool]:
    return lambda hint: hint.tasks is None or task_id in hint.tasks
