"""The agents that are started: in a module that imports no more than they need, as agents' own modules should be."""

from __future__ import annotations

from tenuto import BaseProcessAgent, BaseThreadAgent, LoopingThreadAgent

__all__ = ["Idle", "Process", "Resting", "Thread"]


class Idle(LoopingThreadAgent):
    """Waits."""

    def cycle(self) -> None:
        self.wait(3_600)


class Thread(BaseThreadAgent):
    """Ends at once."""

    def execute(self) -> None:
        """Nothing."""


class Process(BaseProcessAgent):
    """Ends at once."""

    def execute(self) -> None:
        """Nothing."""


class Resting(BaseProcessAgent):
    """Waits."""

    def execute(self) -> None:
        self.wait(3_600)
