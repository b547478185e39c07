"""What every variant offers, and the desk at which its client processes sit."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tenuto.client import Client
from tenuto.tasks.task import TaskSpec
from tests.chaos.evidence import Evidence
from tests.chaos.ledger import Lines, read_lines

__all__ = ["Desk", "Size", "Variant"]


@dataclass(frozen=True)
class Size:
    """How much there is to do."""

    seed: int
    tasks: int
    steps: int


class Desk:
    """What a client process works with. `noted` is durable; everything else is done again after a kill."""

    def __init__(self, client: Client, url: str, folder: Path, size: Size, role: str) -> None:
        self.client = client
        self.url = url
        """of the store"""
        self.size = size
        self.random = random.Random(f"{size.seed}/{role}")
        self._notes = folder / role / "notes.jsonl"
        self._lines = Lines(self._notes)

    def note(self, *values: Any) -> None:
        """Appends to this role's notes; the storm counts those of the submitting client."""
        self._lines.add(*values)

    def noted(self) -> list[Any]:
        """What this role has noted, killed incarnations included."""
        return list(read_lines(self._notes))

    async def submit(self, specs: Sequence[TaskSpec]) -> None:
        """Submits in order, one by one or in batches of random size, and notes the id of each."""
        at = 0
        while at < len(specs):
            some = specs[at : at + self.random.choice((1, 1, 2, 5, 20, 60))]
            if len(some) == 1:
                ids = [await self.client.enqueue_task(None, some[0])]
            else:
                ids = await self.client.enqueue_batch(None, some)
            self.note(*([at + number, task_id] for number, task_id in enumerate(ids)))
            at += len(some)


class Variant(Protocol):
    """One kind of work."""

    @property
    def name(self) -> str: ...

    @property
    def sql(self) -> bool:
        """Only for engines that commit the caller's own SQL."""

    @property
    def sweepers(self) -> int:
        """Processes that only sweep, besides the workers."""

    def scaled(self, tasks: int) -> int:
        """The size of this variant in a run whose main one has so many tasks."""

    def executions(self, size: Size) -> int:
        """About how many step bodies will run: what the plan of the storm counts by."""

    def submissions(self, size: Size) -> int:
        """How many trees the submitting client sends."""

    async def submit(self, desk: Desk) -> None:
        """Sends the work. Runs in a process that is killed at will."""

    async def drive(self, desk: Desk) -> None:
        """Directs the work; returns when there is nothing left to direct. Runs in a process that is killed at will."""

    def check(self, evidence: Evidence, size: Size) -> None:
        """Complains to `evidence` about everything that is not as it must be."""
