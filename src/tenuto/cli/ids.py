"""Ids as people type them: for commands that only read, a part that only one recent id begins or ends with will do.

Commands that change something take the whole id, because a part that means one task today may mean another tomorrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenuto.errors import InvalidInput, NotFound
from tenuto.stores.base import TaskFilter
from tenuto.tasks.task import Kind

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["full_id"]

_SHORTEST = 4
_LOOKED_AT = 10_000
_PAGE = 1_000


async def full_id(client: Client, typed: str, kind: Kind | None = None) -> str:
    """The id that `typed` stands for: itself where it exists, else the only one among the newest that fits.

    Raises `NotFound` when nothing fits, `InvalidInput` when several do.
    """
    what = "goal" if kind is Kind.GOAL else "task"
    if await client.store.task(typed) is not None:
        return typed
    found: list[str] = []
    cursor: str | None = None
    if len(typed) >= _SHORTEST:
        for _ in range(_LOOKED_AT // _PAGE):
            page = await client.store.tasks(TaskFilter(kind=kind), cursor, _PAGE)
            found += [task.id for task in page.tasks if task.id.startswith(typed) or task.id.endswith(typed)]
            cursor = page.cursor
            if cursor is None or len(found) > 1:
                break
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(f"{typed!r} fits several {what}s, such as {found[0]} and {found[1]}: write more of the id")
    raise NotFound(f"there is no {what} {typed!r}: it was not submitted to this store, or was removed after its end")
