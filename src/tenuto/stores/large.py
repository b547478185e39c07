"""Reading values whose large parts are stored apart from the row that refers to them: see `tasks.blobs`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tenuto.errors import Unstorable
from tenuto.stores.base import Blobs
from tenuto.tasks.blobs import joined, references
from tenuto.tasks.task import NULL, Task
from tenuto.tasks.values import decode

__all__ = ["payload_of", "result_of", "value_of", "whole"]


async def payload_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The payload of `task`, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(store, task, bytes(task.payload), type)


async def result_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The result of `task`, which is done, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(store, task, bytes(task.result or NULL), type)


async def value_of(store: Blobs, task: Task, data: bytes, type: Any = Any) -> Any:
    """The value of `task` that is stored as `data`: a step's, for example. Raises as the others do."""
    return decode(await whole(data, lambda key: store.blob(task.root, key), task.id), type)


async def whole(data: bytes, fetch: Callable[[str], Awaitable[bytes | None]], task_id: str) -> bytes:
    """The value that is stored as `data`, with its parts. fetch: what the tree of task `task_id` has under a hash.

    Raises `Unstorable` when a part is not there.
    """
    parts: dict[str, bytes] = {}
    for key in references(data):
        found = await fetch(key)
        if found is None:
            raise Unstorable(
                f"a large value of task {task_id!r} is not in the store any more ({key}): was its tree removed?"
            )
        parts[key] = found
    return joined(data, parts) if parts else data
