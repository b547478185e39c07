"""Reading values that may be stored apart from the row that refers to them."""

from __future__ import annotations

from typing import Any

from tenuto.errors import Unstorable
from tenuto.stores.base import Blobs
from tenuto.tasks.task import NULL, Task
from tenuto.tasks.values import decode, is_blob

__all__ = ["payload_of", "result_of", "value_of"]


async def payload_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The payload of `task`, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(store, task, bytes(task.payload), type)


async def result_of(store: Blobs, task: Task, type: Any = Any) -> Any:
    """The result of `task`, which is done, as `type` where one is given. Raises `Unstorable` when it does not fit."""
    return await value_of(store, task, bytes(task.result or NULL), type)


async def value_of(store: Blobs, task: Task, data: bytes, type: Any = Any) -> Any:
    """The value of `task` that is stored as `data`: a step's, for example. Raises as the others do."""
    key = is_blob(data)
    if key is not None:
        found = await store.blob(task.root, key)
        if found is None:
            raise Unstorable(f"a large value of task {task.id!r} is not in the store any more: was its tree removed?")
        data = found
    return decode(data, type)
