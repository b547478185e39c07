"""Work on a tree that is too long for one script: it goes in pieces of some milliseconds.

The rest lies in the store (`lua/pieces/walks.lua`), so that it survives whoever began it: who caused it does it before
the answer is given, and every sweep carries on with what it finds.
"""

from __future__ import annotations

import itertools
import secrets
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from tenuto.stores.redis.codec import pack, text
from tenuto.stores.redis.reads import Reads
from tenuto.tasks.goal import Goal, revivable
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = ["MOST_TASKS", "Walks"]

MOST_TASKS = 200
"""Tasks that one script stores or puts right, about: some milliseconds of work."""

_names = itertools.count(1)


class Walks(Reads):
    """The part of a Redis store that does long work in pieces."""

    @abstractmethod
    async def _write(
        self, name: str, given: Any, weight: int = 1, who: str = "", number: int = 0, *, once: bool = True
    ) -> Any:
        """What a script that writes answers."""

    async def _finish(self, roots: Sequence[str]) -> None:
        """Does what is left to be done on the trees of these roots."""
        for root in roots:
            while not await self._walk(root):
                pass

    async def _finish_some(self, limit: int) -> bool:
        """Does about `limit` tasks of what others have left to be done; whether that was all."""
        for _ in range(-(-limit // MOST_TASKS)):
            if await self._walk(None):
                return True
        return False

    async def _walk(self, root: str | None) -> bool:
        """The next piece of work on one tree, or on the one that waits longest; whether nothing is left."""
        done, wish = await self._write("walk", root, once=False)
        if wish:
            await self._plan(*wish)
        return cast(bool, done)

    async def _stage(self, parts: Iterable[Any]) -> tuple[str, int]:
        """Sends ahead what one request is too small for; its name, and the number of its parts."""
        name, number = f"{secrets.token_hex(8)}-{next(_names)}", 0
        for number, part in enumerate(parts, 1):
            await self._write("stage", (name, number, text(pack(part))), once=False)
        return name, number

    async def _plan(self, root: str, token: str, only: str | None) -> Any:
        """Finds out which nodes a retry revives, and has them revived; what became of it.

        The tree stands still as long as this is not done: nodes may end, but no edge is decided. Those that have ended
        since count as if they had not.
        """
        goal = await self.goal(root)
        left = await self._fetch("LRANGE", f"walk:{root}", 0, -1)
        undecided = {msgspec.json.decode(each).get("ended") for each in left}
        plan = _planned(goal, undecided, only or None) if goal is not None else []
        name, parts = await self._stage(plan[first : first + MOST_TASKS] for first in range(0, len(plan), MOST_TASKS))
        given = {"root": root, "size": len(plan), "name": name, "parts": parts}
        told, unfinished = await self._write("plan", given, len(plan) + 1, token)
        await self._finish(unfinished)
        return told


def _planned(goal: Goal, undecided: set[str | None], only: str | None) -> list[tuple[str, int]]:
    """Task ids of nodes that run again, each with the number of its edges that are unmet then."""

    def seen(node: Task) -> Task:
        return replace(node, state=State.RUNNING) if node.id in undecided else node

    nodes = {node.node or node.id: seen(node) for node in goal.nodes}
    revived = revivable(nodes, goal.edges, only)
    if only is not None and only not in revived:
        return []
    return [(nodes[name].id, unmet) for name, unmet in revived.items()]
