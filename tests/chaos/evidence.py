"""Everything that is known after a storm: the store, the ledgers, the notes of witnesses, readers and clients."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tenuto.client import Client
from tenuto.stores.base import LimitUse, TaskFilter
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.outcome import Step
from tenuto.tasks.task import Task
from tests.chaos.ledger import Execution, read_ledger, read_lines
from tests.chaos.witness import Saw

__all__ = ["Evidence", "gather"]


class Evidence:
    """What the checks look at, and where they complain."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.folder = folder
        self.url = url
        """of the store"""
        self.violations: list[str] = []
        self.tasks: dict[str, Task] = {}
        self.journals: dict[str, Sequence[Step]] = {}
        self.events: list[Event] = []
        """the whole feed, in its order"""
        self.inboxes: dict[str, int] = {}
        """messages that were left over"""
        self.limits: Sequence[LimitUse] = ()
        self.executions: list[Execution] = read_ledger(folder)
        self.saw: list[Saw] = self._saw("witness")
        self.refused: list[Saw] = self._saw("stubborn")
        """what the stubborn workers were answered"""

    def complain(self, sentence: str) -> None:
        self.violations.append(sentence)

    def notes(self, role: str) -> list[Any]:
        """What the client processes of a role have noted."""
        path = self.folder / role / "notes.jsonl"
        return list(read_lines(path)) if path.exists() else []

    def feeds(self) -> Iterator[list[Event]]:
        """The events that each incarnation of the reader has seen."""
        for path in sorted((self.folder / "feed").glob("*.jsonl")):
            yield list(read_lines(path, Event))

    def result(self, task: Task) -> Any:
        """The result of a task that is done."""
        assert task.result is not None
        return msgspec.json.decode(task.result)

    def ancestors(self, task: Task) -> Iterator[str]:
        while task.parent is not None:
            yield task.parent
            task = self.tasks[task.parent]

    def vanished(self) -> set[str]:
        """Tasks that have failed because they lost their workers too often: a storm may hit one task five times."""
        failed = (event for event in self.events if event.kind is EventKind.FAILED)
        return {event.task_id for event in failed if event.data["error"]["type"] == "LeaseLost"}

    def by_task(self) -> dict[str, list[Event]]:
        """The feed, sorted by task."""
        found: dict[str, list[Event]] = defaultdict(list)
        for event in self.events:
            found[event.task_id].append(event)
        return found

    def _saw(self, folder: str) -> list[Saw]:
        return [line for path in sorted((self.folder / folder).glob("*.jsonl")) for line in read_lines(path, Saw)]


async def gather(client: Client, folder: Path, url: str) -> Evidence:
    """Reads everything."""
    evidence = Evidence(folder, url)
    store = client.store
    cursor: str | None = None
    while True:
        page = await store.tasks(TaskFilter(), cursor, 1_000)
        evidence.tasks |= {task.id: task for task in page.tasks}
        cursor = page.cursor
        if cursor is None:
            break
    for task_id, task in evidence.tasks.items():
        if task.attempt:
            evidence.journals[task_id] = await store.journal(task_id)
            left = await store.inbox(task_id)
            if left:
                evidence.inboxes[task_id] = len(left)
    feed = await store.events(limit=1_000)
    while feed.events:
        evidence.events += feed.events
        feed = await store.events(feed.cursor, limit=1_000)
    evidence.limits = await store.limits()
    return evidence
