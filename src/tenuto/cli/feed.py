"""Events as lines: those that are stored, and with `--follow` those that come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from rich.text import Text

from tenuto.cli.documents import event_data
from tenuto.cli.ids import full_id
from tenuto.cli.output import STYLES, console, plain
from tenuto.errors import InvalidInput
from tenuto.tasks.clock import iso
from tenuto.tasks.event import Event, EventKind, chosen, is_named
from tenuto.tasks.states import State

if TYPE_CHECKING:
    from tenuto.client import Client

__all__ = ["Wanted", "follow_events", "print_event", "read_events"]

_PAGE = 1_000
_POLL = 0.25

_STATE_OF = {
    EventKind.READY: State.READY,
    EventKind.STARTED: State.RUNNING,
    EventKind.WAITING: State.WAITING,
    EventKind.SCHEDULED: State.SCHEDULED,
    EventKind.LOST: State.FAILED,
    EventKind.DONE: State.DONE,
    EventKind.FAILED: State.FAILED,
    EventKind.CANCELLED: State.CANCELLED,
}


@dataclass(frozen=True)
class Wanted:
    """Which events."""

    task_id: str | None
    tree: bool
    owner: str | None
    event_types: tuple[str, ...]
    """as `chosen` reads them"""
    after: str | None

    @classmethod
    def of(cls, task_id: str | None, tree: bool, owner: str | None, kinds: list[str], after: str | None) -> Wanted:
        """From what was typed. Raises `InvalidInput`."""
        if tree and task_id is None:
            raise InvalidInput("--tree needs the id of a task or goal")
        try:
            chosen(kinds)
        except InvalidInput as error:
            raise InvalidInput(f"--kind: {error}") from None
        return cls(task_id, tree, owner, tuple(kinds), after)


async def read_events(client: Client, wanted: Wanted, limit: int) -> tuple[list[Event], str | None]:
    """The stored events, oldest first, at most `limit`, and where to read on."""
    task_id, root = await _scope(client, wanted)
    kinds, names = chosen(wanted.event_types)
    found: list[Event] = []
    cursor = wanted.after
    while True:
        page = await client.store.events(
            cursor,
            task_id=task_id,
            root=root,
            owner=wanted.owner,
            kinds=kinds,
            limit=min(_PAGE, limit - len(found)),
        )
        found += [event for event in page.events if is_named(event, names)]
        if page.cursor == cursor or not page.events or len(found) >= limit:
            return found, page.cursor
        cursor = page.cursor


async def follow_events(client: Client, wanted: Wanted, told: Callable[[Event], None]) -> None:
    """Calls `told` for every event, stored ones first, until the task or tree has ended."""
    task_id, root = await _scope(client, wanted)
    if root is None:
        ids = None if task_id is None else [task_id]
        updates = client.subscribe_to_updates(
            wanted.owner, task_ids=ids, event_types=wanted.event_types, after=wanted.after
        )
        async for event in updates:
            told(event)
        return
    kinds, names = chosen(wanted.event_types)
    cursor = wanted.after
    while True:
        top = await client.store.task(root)
        page = await client.store.events(cursor, root=root, owner=wanted.owner, kinds=kinds, limit=_PAGE)
        for event in page.events:
            if is_named(event, names):
                told(event)
        cursor = page.cursor
        if len(page.events) < _PAGE:
            if top is None or top.is_final:
                return
            await asyncio.sleep(_POLL)


async def _scope(client: Client, wanted: Wanted) -> tuple[str | None, str | None]:
    """The task whose events are wanted, or the root of the tree."""
    if wanted.task_id is None:
        return None, None
    task_id = await full_id(client, wanted.task_id)
    if not wanted.tree:
        return task_id, None
    task = await client.store.task(task_id)
    return None, task.root if task is not None else task_id


def print_event(event: Event) -> None:
    """Writes one event as one line."""
    state = _STATE_OF.get(event.kind)
    line = Text().append(f"{iso(event.at):<24}  ", "bright_black").append(f"{event.task_id}  ")
    line.append(event.kind.value, STYLES[state] if state is not None else "")
    data = {name: value for name, value in event_data(event).items() if value not in (None, "", [], {})}
    if data:
        words = " ".join(f"{name}={_value(value)}" for name, value in data.items())
        line.append(f"  {plain(words)[:400]}", "bright_black")
    console().print(line, soft_wrap=True)


def _value(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
