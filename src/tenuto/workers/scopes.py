"""Where in a task's program a step stands.

A task's program is a tree of *scopes*. The function itself is the root scope; each branch of `ctx.gather` is a scope
of its own, numbered by the position of the gather in its scope and of the branch in the gather. Which scope a verb is
called in is known from a context variable, which follows coroutines and asyncio tasks by itself.

A step is identified by `(scope path, name, n)`: `n` counts the calls with one name in one scope, from 0, and is
assigned when the step is called. As text:

    fetch#0            the first call of "fetch" in the function itself
    fetch#1            the second
    3.0/fetch#0        the first in branch 0 of the gather that was the scope's fourth call
    3.0/1.2/fetch#0    in branch 2 of a gather inside that branch

The tools of an agent that works in turns run in scopes that are named, by the turn and by the call that the model asked
for: `turn-4/call-abc/fetch#0`.

A *position* counts all calls of a scope, whatever their names. With it a changed program is recognised: the journal
says which call came at each position.
"""

from __future__ import annotations

import re
from contextvars import ContextVar
from dataclasses import dataclass, field

from tenuto.errors import InvalidInput
from tenuto.tasks.ids import check_name
from tenuto.tasks.outcome import Step
from tenuto.workers.interruption import Suspended

__all__ = ["CURRENT", "NOTE", "Place", "Scope", "scope_of"]

NOTE = -1
"""The position of entries that are no calls: versions, patches, time-outs."""

_PATH = re.compile(r"(?:(?:\d+\.\d+|turn-\d+|call-[^/]+|agent-[^/]+)/)*")

CURRENT: ContextVar[Scope | None] = ContextVar("tenuto_scope", default=None)
"""The scope that the running code belongs to; None: the function itself."""


@dataclass(slots=True, eq=False)
class Scope:
    """One line of execution in a task's program."""

    owner: object
    """the journal it belongs to"""
    path: str = ""
    next: int = 0
    """the position of the next call"""
    counts: dict[str, int] = field(default_factory=dict)
    in_flight: set[str] = field(default_factory=set)
    failures: list[Step] = field(default_factory=list)
    """failed steps that the program has not outlived yet: see `journal`"""
    suspended: Suspended | None = None
    outer: Scope | None = None
    """of a branch: where its gather stands"""
    told: int | None = None
    """the position of the call before which something was told last"""

    def take(self, name: str) -> Place:
        """The place of a call that begins now. `InvalidInput` when one of this name is in flight in this scope."""
        check_name(name, "step name")
        if _PATH.match(name).end():  # type: ignore[union-attr]  # it matches the empty text
            raise InvalidInput(
                f"a step cannot be named {name!r}: '<number>.<number>/', 'turn-<number>/', 'call-<id>/' and "
                "'agent-<name>/' mark scopes"
            )
        if name in self.in_flight:
            raise InvalidInput(
                f"two steps named {name!r} are in flight at once: name them differently, or run them as branches of "
                "ctx.gather"
            )
        self.in_flight.add(name)
        n = self.counts.get(name, 0)
        self.counts[name] = n + 1
        return Place(self, name, f"{self.path}{name}#{n}", self.advance())

    def advance(self) -> int:
        """The position of a call that begins now."""
        position = self.next
        self.next += 1
        return position

    def branch(self, position: int, number: int) -> Scope:
        """The scope of branch `number` of the gather at `position`."""
        return Scope(self.owner, f"{self.path}{position}.{number}/", outer=self)


@dataclass(frozen=True, slots=True)
class Place:
    """Where one call stands."""

    scope: Scope
    name: str
    key: str
    position: int

    def leave(self) -> None:
        """The call is no longer in flight."""
        self.scope.in_flight.discard(self.name)


def scope_of(key: str) -> str:
    """The path of the scope that the step `key` belongs to."""
    found = _PATH.match(key)
    return found.group() if found else ""
