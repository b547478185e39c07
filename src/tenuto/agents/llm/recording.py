"""A task's journal and context as they were recorded: to look at, never to add to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NoReturn, Unpack, cast

import msgspec

from tenuto.errors import TenutoError
from tenuto.stores.base import Store
from tenuto.tasks.clock import LATEST, Millis
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Record, Step
from tenuto.tasks.signal import Message
from tenuto.tasks.task import Task
from tenuto.tasks.waits import Wait
from tenuto.workers.blobs import Blobs
from tenuto.workers.context import Context
from tenuto.workers.journal import Along, Journal
from tenuto.workers.scopes import NOTE, Scope
from tenuto.workers.services import Services

__all__ = ["NotRecorded", "RecordedContext"]


class NotRecorded(TenutoError):
    """The running code does something that is not on record."""


class RecordedContext(Context):
    """The context of a task whose verbs answer from its journal. Raises `NotRecorded` for what is not there."""

    __slots__ = ("_recorded",)

    def __init__(self, task: Task, payload: bytes, store: Store, steps: Sequence[Step]) -> None:
        lease = Lease(
            task_id=task.id,
            attempt=task.attempt,
            nonce=0,
            expires=LATEST,
            root=task.root,
            agent=task.agent,
            payload=msgspec.Raw(payload),
            owner=task.owner,
            parent=task.parent,
            node=task.node,
            run=task.run,
            epoch=task.epoch,
            metadata=task.metadata,
        )
        # No worker lends anything to it: what would need a service is not on record, and refused before.
        super().__init__(lease, cast(Services, None), "")
        self._recorded = _Recording(lease, store, steps)

    @property
    def journal(self) -> Journal:
        """What was recorded."""
        return self._recorded


class _Recording(Journal):
    """A journal that is read only."""

    def __init__(self, lease: Lease, store: Store, steps: Sequence[Step]) -> None:
        super().__init__(lease, cast(Services, None), "")
        self._blobs = Blobs(partial(store.blobs, lease.root))
        self._blobs.expect(steps)
        for step in steps:
            self._entries[step.key] = step
            if step.position != NOTE:
                self._index(step)

    async def commit(self, scope: Scope, steps: tuple[Step, ...], **_: Unpack[Along]) -> None:
        """Refuses to add anything but failures, which are what they were."""
        if steps:
            raise NotRecorded(f"{steps[0].key!r} is not on record")

    async def suspend(self, scope: Scope, wait: Wait) -> NoReturn:
        """Refuses: what has not come is not on record."""
        raise NotRecorded("what the task waits for is not on record")

    def now(self) -> Millis:
        """The beginning of time: what was not over on record is not over now."""
        return 0

    async def steering(self) -> tuple[Message, ...]:
        """None: what was said is part of the recorded requests."""
        return ()

    def _report(self, record: Record) -> None:
        """Nobody is told of anything."""
