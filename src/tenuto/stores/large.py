"""Reading values whose large parts are stored apart from the row that refers to them: see `tasks.blobs`.

A task that goes on reads many of them. They are fetched ahead, in the order in which they will be asked for, many with
one request to the store (`Parts`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import Any, TypeAlias

from tenuto.errors import Unstorable
from tenuto.stores.base import Blobs
from tenuto.tasks.blobs import joined, references
from tenuto.tasks.outcome import Step
from tenuto.tasks.task import NULL, Task
from tenuto.tasks.values import decode

__all__ = ["Fetch", "Parts", "parts_of", "payload_of", "result_of", "value_of", "whole"]

MOST_AT_HAND = 4 * 1024 * 1024
"""Bytes that are fetched with one request, and kept at hand."""

_MOST_KEYS = 500
"""Parts that one request asks for."""

Fetch: TypeAlias = Callable[[Sequence[str], int], Awaitable[Mapping[str, bytes]]]
"""What a tree has under some keys: see `stores.base.Blobs`."""


class Parts:
    """The large parts of the values of one tree, as somebody reads them."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._expected: dict[str, int] = {}
        self._next = 0
        """where in that order the reader stands"""
        self._at_hand: dict[str, bytes] = {}
        self._bytes = 0
        self._reading = asyncio.Lock()

    def expect(self, steps: Iterable[Step]) -> None:
        """The values of `steps` will be read, mostly in this order."""
        keys = (key for step in steps if step.value is not None for key in references(bytes(step.value)))
        self._expected = {key: place for place, key in enumerate(dict.fromkeys(keys))}

    async def get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        """What lies under `keys`, without those where there is nothing."""
        async with self._reading:  # several tools read at once: what one has fetched ahead is there for the next
            return await self._get(keys)

    async def _get(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        self._next = max((self._expected[key] + 1 for key in keys if key in self._expected), default=self._next)
        found = {key: self._at_hand[key] for key in keys if key in self._at_hand}
        missing = [key for key in dict.fromkeys(keys) if key not in found]
        while missing:
            fetched = await self._fetch([*missing, *self._ahead(keys)], MOST_AT_HAND)
            self._keep(fetched)
            found |= {key: fetched[key] for key in missing if key in fetched}
            if fetched.keys().isdisjoint(missing):
                break
            missing = [key for key in missing if key not in found]
        return found

    def _ahead(self, keys: Sequence[str]) -> list[str]:
        """What is read after `keys`, as far as it is not at hand."""
        following = islice(self._expected, self._next, None)
        return list(islice((key for key in following if key not in self._at_hand and key not in keys), _MOST_KEYS))

    def _keep(self, fetched: Mapping[str, bytes]) -> None:
        for key, data in fetched.items():
            if key not in self._at_hand and len(data) <= MOST_AT_HAND:
                self._at_hand[key] = data
                self._bytes += len(data)
        while self._bytes > MOST_AT_HAND:
            oldest = next(iter(self._at_hand))
            self._bytes -= len(self._at_hand.pop(oldest))


def parts_of(store: Blobs, root: str) -> Parts:
    """Those of the tree `root`."""
    return Parts(partial(store.blobs, root))


async def payload_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The payload of `task`, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(parts_of(store, task.root), task, bytes(task.payload), type)


async def result_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The result of `task`, which is done, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(parts_of(store, task.root), task, bytes(task.result or NULL), type)


async def value_of(parts: Parts, task: Task, data: bytes, type: Any = Any) -> Any:
    """The value of `task` that is stored as `data`: a step's, for example. Raises as the others do."""
    return decode(await whole(data, parts, task.id), type)


async def whole(data: bytes, parts: Parts, task_id: str) -> bytes:
    """The value that is stored as `data` for the task `task_id`, with its parts.

    Raises `Unstorable` when one is not there.
    """
    keys = references(data)
    if not keys:
        return data
    found = await parts.get(keys)
    for key in keys:
        if key not in found:
            raise Unstorable(
                f"a large value of task {task_id!r} is not in the store any more ({key}): was its tree removed?"
            )
    return joined(data, found)
