"""Agents that do the same thing again and again, until they are stopped or have done it `limit` times."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tenuto.supervisor.agents.asynchronous import BaseAsyncAgent
from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent, BaseThreadAgent
from tenuto.supervisor.agents.life import run_now
from tenuto.supervisor.config import ValidationResult, critical
from tenuto.supervisor.exceptions import RecoverableException

__all__ = [
    "LoopingAgent",
    "LoopingAsyncAgent",
    "LoopingConfig",
    "LoopingProcessAgent",
    "LoopingThreadAgent",
    "go_round",
]


class LoopingConfig(BaseAgent.Config):
    """What a looping agent can be told."""

    limit: int = -1
    """rounds until it ends; -1: until it is stopped"""

    def validate(self) -> list[ValidationResult]:
        """Checks `limit`."""
        findings = super().validate()
        limit: Any = self.limit
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < -1:
            findings.append(critical("limit", f"must be a whole number from 0, or -1 for no limit, not {limit!r}"))
        return findings


class LoopingAgent(BaseAgent):
    """Calls `cycle` without a pause in between. A `RecoverableException` is reported, and the next round follows."""

    class Config(LoopingConfig):
        """Its settings."""

    def execute(self) -> None:
        """Goes round."""
        run_now(go_round(self, self.cycle))

    def cycle(self) -> None:
        """One round."""


class LoopingProcessAgent(LoopingAgent, BaseProcessAgent):
    """A looping agent in a process of its own."""


class LoopingThreadAgent(LoopingAgent, BaseThreadAgent):
    """A looping agent in a thread."""


class LoopingAsyncAgent(BaseAsyncAgent):
    """A looping agent on the event loop, which others get between two rounds."""

    class Config(LoopingConfig):
        """Its settings."""

    async def execute(self) -> None:
        """Goes round."""
        await go_round(self, self.cycle)

    async def cycle(self) -> None:
        """One round."""


async def go_round(
    agent: BaseAgent, work: Callable[[], Any], pause_after: Callable[[float], float] | None = None
) -> None:
    """Calls `work` until the agent is stopped or has done its rounds.

    pause_after: given the instant at which a round began (monotonic), says how many seconds to wait after it.
    """
    rounds = 0
    while not agent.stopping and rounds != agent.config.limit:
        began = time.monotonic()
        rounds += 1
        try:
            await agent.run_hook(work)
        except RecoverableException as error:
            agent.tell_error(error, f"round {rounds}", recoverable=True)
        if pause_after is not None and rounds != agent.config.limit:
            await agent.pause(pause_after(began))
