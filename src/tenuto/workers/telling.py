"""Events of a task's own: how far it is, and what its program emits.

They are not recorded: replaying a program that told something a thousand times would else read a thousand entries. A
program that is run again tells nothing at places that an earlier attempt has passed, which its journal knows from what
was recorded behind them. A wait leaves nothing on record until it is over, so that one before which something was told
leaves a mark:

    2@told                  what was told before call 2 of the function itself
    turn-4/call-abc/0@told  in a tool

What was told last before a worker died, with nothing recorded behind it, is told again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tenuto.tasks.outcome import Record, Step
from tenuto.tasks.values import encode
from tenuto.workers.scopes import NOTE, Scope

if TYPE_CHECKING:
    from tenuto.workers.journal import Journal

__all__ = ["tell", "told_before_wait"]


async def tell(journal: Journal, name: str, data: Any) -> None:
    """Sends an event, unless an earlier attempt has."""
    scope = journal.check()
    scope.told = scope.next
    raw = msgspec.Raw(encode(data, f"the event {name!r}"))
    if not journal.passed(scope) and journal.note(_mark(scope, scope.next)) is None:
        await journal.send(Record(journal.lease.hold, events=((name, raw),)))


def told_before_wait(journal: Journal, *scopes: Scope) -> list[Step]:
    """What is to be recorded where the task is left waiting: in `scopes` something was told before the call that came
    last, or behind it."""
    marks = [_mark(scope, scope.told) for scope in scopes if scope.told is not None and scope.told >= scope.next - 1]
    return [Step(mark, NOTE) for mark in marks if journal.note(mark) is None]


def _mark(scope: Scope, position: int) -> str:
    return f"{scope.path}{position}@told"
