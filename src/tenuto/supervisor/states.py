"""The states of a service agent, and which one may follow which. Pure rules.

    REGISTERED ──► QUEUED ──► STARTING ──► RUNNING ──► STOPPING
        ▲            │            │           │            │
        │            ▼            ▼           ▼            ▼
        └──── TERMINATED | FAILED ◄────────────────────────┘      (and from there to QUEUED again: the next start)

QUEUED      waits for a slot, for what it depends on, or for the back-off before a restart
STARTING    launched; its `setup()` is not over
RUNNING     ready
STOPPING    asked to stop
TERMINATED  ended as it should: its work is done, or it was stopped
FAILED      ended otherwise; the entry says why
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from tenuto.errors import Conflict

__all__ = ["ENDED", "LIVE", "AgentState", "check_step"]


class AgentState(StrEnum):
    """Where a service agent is in its life."""

    REGISTERED = "REGISTERED"
    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    TERMINATED = "TERMINATED"
    FAILED = "FAILED"


ENDED = frozenset({AgentState.TERMINATED, AgentState.FAILED})
"""Over, until it is started again."""
LIVE = frozenset({AgentState.STARTING, AgentState.RUNNING, AgentState.STOPPING})
"""Something of it runs."""

_S = AgentState
_NEXT: Mapping[AgentState, frozenset[AgentState]] = {
    _S.REGISTERED: frozenset({_S.QUEUED}),
    _S.QUEUED: frozenset({_S.STARTING, _S.TERMINATED, _S.FAILED}),
    _S.STARTING: frozenset({_S.RUNNING, _S.STOPPING, _S.TERMINATED, _S.FAILED}),
    _S.RUNNING: frozenset({_S.STOPPING, _S.TERMINATED, _S.FAILED}),
    _S.STOPPING: frozenset({_S.TERMINATED, _S.FAILED}),
    _S.TERMINATED: frozenset({_S.QUEUED}),
    _S.FAILED: frozenset({_S.QUEUED}),
}


def check_step(name: str, before: AgentState, after: AgentState) -> None:
    """Raises `Conflict` when the agent `name` cannot go from `before` to `after`."""
    if after not in _NEXT[before]:
        raise Conflict(f"agent {name!r} is {before} and cannot become {after}")
