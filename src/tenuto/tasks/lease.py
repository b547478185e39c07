"""The lease: a worker's time-limited hold on a task.

A hold is identified by three numbers together: the task, the attempt, and a nonce drawn by the engine. All three
are compared at every commit, so neither a stale worker nor an engine that was set back to an older state can
have two holders' work accepted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from tenuto.tasks.clock import Millis
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Message
from tenuto.tasks.task import NULL

__all__ = ["Hold", "Lease"]


class Hold(NamedTuple):
    """The fencing token."""

    task_id: str
    attempt: int
    nonce: int


class Lease(msgspec.Struct, frozen=True, omit_defaults=True):
    """A claimed task as its worker receives it: just what running it needs."""

    task_id: str
    attempt: int
    nonce: int
    expires: Millis
    """by the engine's clock. The worker's own deadline is `lease` milliseconds after it *sent* the claim"""
    root: str
    agent: str
    payload: msgspec.Raw = NULL
    owner: str = ""
    parent: str | None = None
    node: str | None = None
    run: int = 1
    epoch: int = 0
    failures: int = 0
    losses: int = 0
    """from the second on the task runs alone in its worker"""
    steps: int = 0
    """recorded steps: the journal is read only when there are any"""
    attempt_timeout: Millis | None = None
    time_left: Millis | None = None
    """milliseconds until deadline or total limit, whichever is first, from the claim on"""
    retry: RetryPolicy | None = None
    """of the task itself; None: as its agent says"""
    metadata: dict[str, Any] = {}
    messages: tuple[Message, ...] = ()
    """the inbox: what was not consumed yet, in order"""

    @property
    def hold(self) -> Hold:
        """The fencing token."""
        return Hold(self.task_id, self.attempt, self.nonce)
