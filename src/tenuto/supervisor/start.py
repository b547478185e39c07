"""One start of one agent: watched until it ends, and made to end when it should.

The *stop ladder*: the agent is asked (its stop event is set); when its time is over it is interrupted (SIGTERM, a
cancelled coroutine), and a second later killed. A thread can only be asked: one that does not end is left behind.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.runs import Exit, Run
from tenuto.supervisor.states import AgentState
from tenuto.supervisor.texts import signal_name

__all__ = ["Ending", "Start"]

_INTERRUPTED = 1.0
"""Seconds that an interrupted agent has to close what it has opened."""
_KILLED = 7.0
"""Seconds within which a killed process is gone, even if a frozen fork server has to be found out and killed first."""
_CLOSED = 0.5
"""Seconds that a process may outlive its channel."""
_LAST_WORDS = 3.0
"""Seconds that the channel of an agent may outlive it: what it has said is still read, and something that it has
started may hold the channel open."""


@dataclass(frozen=True)
class Ending:
    """What has become of a start."""

    state: AgentState
    reason: str = ""
    exit: Exit = field(default_factory=Exit)
    unreported: bool = False
    """whether it failed without having been able to say so"""
    left_behind: bool = False
    """whether its thread still runs"""

    @property
    def failed(self) -> bool:
        """Whether it did not end as it should."""
        return self.state is AgentState.FAILED


class Start:
    """One start. Belongs to the supervisor's event loop."""

    def __init__(self, entry: AgentEntry, run: Run, bus: OrchestratorEventBus, start_timeout: float) -> None:
        self.entry = entry
        self.run = run
        self.generation = entry.generation
        self._bus = bus
        self._loop = asyncio.get_running_loop()
        self.began = self._loop.time()
        self._ending = asyncio.ensure_future(run.ended())
        self._left_behind: asyncio.Future[None] = self._loop.create_future()
        self._begun: asyncio.Future[None] = self._loop.create_future()
        self._closed = asyncio.Event()
        self._ladder: asyncio.Task[None] | None = None
        self._deadline = float("inf")
        self._failure = ""
        """why the supervisor ends it"""
        self._insisted = False
        self._error = ""
        self._last_word: dict[str, Any] = {}
        self._timer = self._loop.call_later(start_timeout, self._not_ready, start_timeout)

    # -- what it says

    def take(self, message: Message) -> None:
        """Takes a message of the agent."""
        if not self._begun.done():
            self._begun.set_result(None)
        if message.kind is MessageKind.READY:
            self._timer.cancel()
            self.entry.was_ready = True
            self.entry.ready_at = message.at
            if self.entry.state is AgentState.STARTING:
                self.entry.advance(AgentState.RUNNING)
            self._watch_heartbeat()
        elif message.kind is MessageKind.HEARTBEAT:
            self.entry.heartbeat_at = message.at
            self._watch_heartbeat()
        elif message.kind is MessageKind.ERROR:
            if not message.fields.get("recoverable"):
                self._error = self._error or str(message.fields.get("error_message", ""))
        elif message.kind is MessageKind.TERMINATED:
            self._last_word = message.fields
        elif message.kind is MessageKind.CLOSED:
            self._closed.set()
            self._loop.call_later(_CLOSED, self._overdue)

    def _overdue(self) -> None:
        if not self._ending.done():
            self.run.overdue()

    def _watch_heartbeat(self) -> None:
        limit = self.entry.config.heartbeat_timeout
        if limit is not None and self.entry.heartbeat_at is not None and self.entry.was_ready:
            self._timer.cancel()
            self._timer = self._loop.call_later(limit, self._silent, limit)

    def _not_ready(self, limit: float) -> None:
        self._fail(f"it was not ready within {limit:g} s")

    def _silent(self, limit: float) -> None:
        self._fail(f"there was no heartbeat for {limit:g} s")

    def _fail(self, why: str) -> None:
        """The supervisor gives it up: it need not be asked long."""
        if self._ladder is None and not self._ending.done():
            self._failure = why
            self._bus.emit(OrchestratorEvent.AGENT_TIMEOUT, agent_name=self.entry.name, reason=why)
            self._bus.emit(OrchestratorEvent.AGENT_ERROR, agent_name=self.entry.name, error_message=why)
            self.stop(self._loop.time() + _INTERRUPTED)

    # -- its end

    def stop(self, deadline: float) -> None:
        """Makes it end: it is asked now, and has until `deadline`, by the loop's clock. A later call may hurry it."""
        if self._ending.done() or deadline >= self._deadline:
            return
        self._deadline = deadline
        if self._ladder is not None:
            self._ladder.cancel()
        if self.entry.state in (AgentState.STARTING, AgentState.RUNNING):
            self.entry.advance(AgentState.STOPPING, self._failure)
        self._timer.cancel()
        self._ladder = self._loop.create_task(self._climb(deadline))

    async def _climb(self, deadline: float) -> None:
        self.run.send(Message(kind=MessageKind.STOP, agent=self.entry.name, generation=self.generation))
        left = max(deadline - self._loop.time(), 0.0)
        if await self._gone(left):
            return
        self._insisted = True
        if not self._failure:
            reason = f"it did not stop within {left:.3g} s"
            self._bus.emit(OrchestratorEvent.AGENT_TIMEOUT, agent_name=self.entry.name, reason=reason)
        self.run.interrupt()
        if await self._gone(_INTERRUPTED):
            return
        if self.run.kill() and await self._gone(_KILLED):
            return
        if not self._left_behind.done():
            self._left_behind.set_result(None)

    async def _gone(self, seconds: float) -> bool:
        await asyncio.wait([self._ending], timeout=seconds)
        return self._ending.done()

    async def begun(self) -> None:
        """Waits until its own code begins, or it is over."""
        either: list[asyncio.Future[Any]] = [self._begun, self._ending, self._left_behind]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    async def lived(self) -> Ending:
        """Waits for its end, and says what it was."""
        either: list[asyncio.Future[Any]] = [self._ending, self._left_behind]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        self._timer.cancel()
        if not self._ending.done():
            reason = f"{self._failure}; " if self._failure else ""
            return Ending(AgentState.FAILED, f"{reason}it does not stop, and is left behind", left_behind=True)
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self._closed.wait()
        except TimeoutError:
            pass
        return self._judged(self._ending.result())

    async def gone(self) -> None:
        """Waits for the end of one that was left behind."""
        await asyncio.wait([self._ending])

    def _judged(self, exit_: Exit) -> Ending:
        asked = self.entry.stop_asked
        if self._failure:
            return Ending(AgentState.FAILED, self._failure, exit_)
        if exit_.signal is not None:
            killed = exit_.reason or f"killed by {signal_name(exit_.signal)}"
            if not asked:
                return Ending(AgentState.FAILED, killed, exit_, unreported=True)
            return Ending(
                AgentState.TERMINATED, f"{killed}: it did not stop in time" if self._insisted else killed, exit_
            )
        reason = str(self._last_word.get("reason") or exit_.reason or self._error)
        if exit_.code or exit_.failed:
            reason = reason or f"exit code {exit_.code}"
            if asked and not self._error:  # it was interrupted
                return Ending(AgentState.TERMINATED, reason, exit_)
            return Ending(AgentState.FAILED, reason, exit_, unreported=not self._error)
        return Ending(AgentState.TERMINATED, "", exit_)

    @property
    def final(self) -> bool:
        """Whether the agent has said that trying again would not help."""
        return bool(self._last_word.get("final"))
