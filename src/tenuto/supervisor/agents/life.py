"""One life of an agent, from its plugins' `initialize` to their `finalize`. Written once for all kinds of agents.

It is a coroutine. An async agent awaits it on its event loop; for the others `run_now` runs it to its end on the spot,
because what it awaits of them returns without ever giving way.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from tenuto.supervisor.exceptions import NonRecoverableException
from tenuto.supervisor.messages import MessageKind
from tenuto.supervisor.texts import error_text

if TYPE_CHECKING:
    from tenuto.supervisor.agents.base import BaseAgent

__all__ = ["Outcome", "live", "run_now"]

T = TypeVar("T")


@dataclass
class Outcome:
    """How a life has ended."""

    error: BaseException | None = None
    """the first thing that it raised"""
    where: str = ""
    """the hook that raised it"""
    exit_code: int = 0

    @property
    def final(self) -> bool:
        """Whether it says that trying again would not help."""
        return isinstance(self.error, NonRecoverableException)

    @property
    def reason(self) -> str:
        """One line; empty when it ended as it should."""
        if self.error is None:
            return "" if self.exit_code == 0 else f"exit code {self.exit_code}"
        if self.final:
            return error_text(self.error)
        return f"{self.where}: {error_text(self.error)}"


def run_now(life: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine that never gives way, without an event loop."""
    try:
        life.send(None)
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]  # the coroutine's result
    life.close()
    raise RuntimeError("a coroutine of an agent without an event loop has to wait: derive it from an async agent")


async def live(agent: BaseAgent) -> Outcome:
    """Everything that `agent` does. Raises nothing; says how it ended, also to its orchestrator."""
    outcome = Outcome()
    begun: list[Any] = []
    try:
        ready = await _initialize(agent, begun, outcome) and await _attempt(agent, agent.setup, "setup", outcome)
        if ready and not agent.stopping:
            agent.tell(MessageKind.READY)
            await _attempt(agent, agent.execute, "execute", outcome)
    finally:
        await _close(agent, begun, outcome)
    agent.tell(MessageKind.TERMINATED, failed=bool(outcome.reason), reason=outcome.reason, final=outcome.final)
    agent.close_log()
    return outcome


async def _initialize(agent: BaseAgent, begun: list[Any], outcome: Outcome) -> bool:
    for name, plugin in agent.plugin:
        if not await _attempt(agent, plugin.initialize, f"plugin {name}: initialize", outcome):
            return False
        begun.append((name, plugin))
    return True


async def _close(agent: BaseAgent, begun: list[Any], outcome: Outcome) -> None:
    with contextlib.suppress(asyncio.CancelledError):
        await agent.after_on_stop()
    await _attempt(agent, agent.on_close, "on_close", outcome)
    for name, plugin in reversed(begun):
        await _attempt(agent, plugin.finalize, f"plugin {name}: finalize", outcome)


async def _attempt(agent: BaseAgent, hook: Callable[[], Any], where: str, outcome: Outcome) -> bool:
    """Calls `hook`; whether the next one may be called. The first error decides how the life has ended."""
    try:
        await agent.run_hook(hook)
    except SystemExit as end:
        outcome.exit_code = outcome.exit_code or _exit_code(end)
        return False
    except asyncio.CancelledError as error:
        if not agent.stopping and outcome.error is None:
            outcome.error, outcome.where = error, where
        return False
    except BaseException as error:  # noqa: BLE001 - whatever it was, the agent's end must be told and its slot freed
        agent.tell_error(error, where, recoverable=False)
        if outcome.error is None:
            outcome.error, outcome.where = error, where
        return False
    return True


def _exit_code(end: SystemExit) -> int:
    if end.code is None:
        return 0
    return end.code if isinstance(end.code, int) else 1
