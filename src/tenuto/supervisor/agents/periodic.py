"""Agents that do something every so often: looping agents whose round is `runner`, and then a pause.

    class Probe(PeriodicThreadAgent):
        class Config(PeriodicThreadAgent.Config):
            execution_interval = 5.0

        def runner(self):
            ...

The pause is `execution_interval` seconds from the end of one round to the begin of the next. With `delay_compensation`
the rounds begin at fixed instants instead, whatever they take: every interval from the first one on; instants that a
long round has missed are left out, not made up for. Nothing waits after the last round, and a stop ends the pause.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tenuto.supervisor.agents.asynchronous import BaseAsyncAgent
from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent, BaseThreadAgent
from tenuto.supervisor.agents.life import run_now
from tenuto.supervisor.agents.looping import LoopingConfig, go_round
from tenuto.supervisor.config import ValidationResult, critical, seconds

__all__ = ["PeriodicAgent", "PeriodicAsyncAgent", "PeriodicConfig", "PeriodicProcessAgent", "PeriodicThreadAgent"]


class PeriodicConfig(LoopingConfig):
    """What a periodic agent can be told."""

    execution_interval: float = 1.0
    """seconds between two rounds"""
    delay_compensation: bool = False
    """whether rounds begin at fixed instants"""

    def validate(self) -> list[ValidationResult]:
        """Checks both."""
        findings = super().validate() + seconds(self, "execution_interval", 0.0, 31_536_000.0)
        chosen: Any = self.delay_compensation
        if not isinstance(chosen, bool):
            findings.append(critical("delay_compensation", f"must be True or False, not {chosen!r}"))
        return findings


class PeriodicAgent(BaseAgent):
    """Calls `runner` at intervals. A `RecoverableException` is reported, and the next round follows."""

    class Config(PeriodicConfig):
        """Its settings."""

    def execute(self) -> None:
        """Goes round."""
        run_now(go_round(self, self.runner, pace(self.config)))

    def runner(self) -> None:
        """What it does each time."""


class PeriodicProcessAgent(PeriodicAgent, BaseProcessAgent):
    """A periodic agent in a process of its own."""


class PeriodicThreadAgent(PeriodicAgent, BaseThreadAgent):
    """A periodic agent in a thread."""


class PeriodicAsyncAgent(BaseAsyncAgent):
    """A periodic agent on the event loop."""

    class Config(PeriodicConfig):
        """Its settings."""

    async def execute(self) -> None:
        """Goes round."""
        await go_round(self, self.runner, pace(self.config))

    async def runner(self) -> None:
        """What it does each time."""


def pace(config: PeriodicConfig, clock: Callable[[], float] = time.monotonic) -> Callable[[float], float]:
    """Given when a round began, how many seconds to wait after it, which is now."""
    interval = config.execution_interval
    first: float | None = None

    def after(began: float) -> float:
        nonlocal first
        if not config.delay_compensation or interval == 0:
            return interval
        first = began if first is None else first
        gone = clock() - first
        return interval - gone % interval

    return after
