"""One start of an agent, as the lifecycle manager sees it: something that runs, can be talked to, and ends.

`processes`, `threads` and `loops` make them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tenuto.supervisor.messages import Message, OrchestratorEnd

__all__ = ["Exit", "Run"]


@dataclass(frozen=True)
class Exit:
    """How a run has ended, as far as its surroundings can see."""

    code: int | None = None
    """of a process that has left by itself"""
    signal: int | None = None
    """that has killed a process"""
    error: BaseException | None = None
    """what was raised, where it is at hand"""
    failed: bool = False
    reason: str = ""
    final: bool = False
    """whether trying again would not help"""


class Run(Protocol):
    """One start of an agent. Everything here is called on the supervisor's event loop."""

    @property
    def end(self) -> OrchestratorEnd:
        """The orchestrator's end of its channel."""

    @property
    def pid(self) -> int | None:
        """Its process, if it has one of its own."""

    def send(self, message: Message) -> bool:
        """Sends a message to the agent; False when it cannot take it."""

    async def ended(self) -> Exit:
        """Waits for its end. May be cancelled and called again."""

    def overdue(self) -> None:
        """Its channel has closed and its end was not told: finds out why."""

    def interrupt(self) -> None:
        """Interrupts it, where that is possible: it still closes what it has opened."""

    def kill(self) -> bool:
        """Ends it at once; False where that is not possible."""

    def close(self) -> None:
        """Closes its channel."""
