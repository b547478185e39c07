"""What a task's function gets as `ctx`: who it is, and the verbs that the journal remembers."""

from __future__ import annotations

from tenuto.tasks.lease import Lease
from tenuto.workers.journal import Journal
from tenuto.workers.services import Services

__all__ = ["Context"]


class Context:
    """One attempt at one task, as its function sees it."""

    __slots__ = ("_journal", "_version", "lease", "services")

    def __init__(self, lease: Lease, services: Services, version: str) -> None:
        self.lease = lease
        self.services = services
        self._version = version
        self._journal: Journal | None = None

    @property
    def journal(self) -> Journal:
        """The task's journal; made when it is first needed, for most tasks never need one."""
        if self._journal is None:
            self._journal = Journal(self.lease, self.services, self._version)
        return self._journal

    @property
    def keeps_journal(self) -> bool:
        """Whether the journal was needed so far."""
        return self._journal is not None
