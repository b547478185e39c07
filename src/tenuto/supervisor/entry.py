"""What the supervisor knows of one registered agent."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tenuto.supervisor.states import ENDED, LIVE, AgentState, check_step
from tenuto.supervisor.texts import signal_name

if TYPE_CHECKING:
    from tenuto.observability.agent_logs import AgentLogConfig
    from tenuto.supervisor.agents.base import BaseAgent

__all__ = ["AgentEntry", "Executor"]

Executor: TypeAlias = Literal["process", "thread", "async"]


@dataclass(eq=False, repr=False)
class AgentEntry:
    """One agent under its name. Written by the lifecycle manager alone; anybody may read it, from any thread."""

    name: str
    agent_class: type[BaseAgent]
    config: Any
    plugin: Any = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """what else its constructor gets"""
    executor: Executor = "process"
    counted: bool = True
    """whether it takes one of the `max_workers` slots while it runs"""
    essential: bool = False
    """whether the orchestrator ends when it fails for good"""

    log: AgentLogConfig | None = None
    """how it logs"""

    state: AgentState = AgentState.REGISTERED
    generation: int = 0
    """how often it was started"""
    restarts: int = 0
    """how often its restart policy has started it, since somebody did"""
    pid: int | None = None
    """its process, while it has one"""
    reason: str = ""
    """why it is in this state, where that is not plain"""
    exit_code: int | None = None
    exit_signal: int | None = None
    """what killed its process"""
    error: BaseException | None = None
    """what its last start raised; None when that was in a process and cannot travel"""
    stop_asked: bool = False
    """somebody wants it stopped: it is not restarted"""
    was_ready: bool = False
    """in its present or last start"""
    registered_at: float = field(default_factory=time.time)
    """Unix seconds, as the other times"""
    started_at: float | None = None
    ready_at: float | None = None
    ended_at: float | None = None
    heartbeat_at: float | None = None
    restarts_at: float | None = None
    """when the back-off before its next start is over, while it waits for that"""

    def __post_init__(self) -> None:
        self._changed = threading.Condition()

    def __repr__(self) -> str:
        return f"<agent {self.name!r}, {self.agent_class.__name__}, {self.state}>"

    @property
    def ended(self) -> bool:
        """Whether it is over, until it is started again."""
        return self.state in ENDED

    @property
    def live(self) -> bool:
        """Whether something of it runs."""
        return self.state in LIVE

    @property
    def exit_signal_name(self) -> str | None:
        """`SIGKILL` …"""
        return None if self.exit_signal is None else signal_name(self.exit_signal)

    def advance(self, state: AgentState, reason: str = "") -> None:
        """Goes to `state` and wakes who waits. Raises `Conflict` when the state cannot follow."""
        with self._changed:
            check_step(self.name, self.state, state)
            self.state = state
            self.reason = reason
            self._changed.notify_all()

    def begin(self) -> None:
        """Begins the next start."""
        self.generation += 1
        self.pid = self.exit_code = self.exit_signal = self.error = None
        self.ready_at = self.ended_at = self.heartbeat_at = None
        self.was_ready = False
        self.started_at = time.time()
        self.advance(AgentState.STARTING)

    def finish(self, exit_code: int | None, exit_signal: int | None, error: BaseException | None) -> None:
        """Keeps how a start has ended; its state follows."""
        self.ended_at = time.time()
        self.pid = None
        self.exit_code, self.exit_signal, self.error = exit_code, exit_signal, error

    def wait(self, *states: AgentState, timeout: float | None = None) -> bool:
        """Waits until it is in one of `states`, or for `timeout` seconds; says whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state in states, timeout)

    def describe(self) -> dict[str, Any]:
        """Everything that a listing shows, in plain types. What a queued agent waits for, its manager knows."""
        until = time.time() if self.ended_at is None else self.ended_at
        return {
            "name": self.name,
            "class": self.agent_class.__name__,
            "executor": self.executor,
            "state": self.state.value,
            "pid": self.pid,
            "generation": self.generation,
            "restarts": self.restarts,
            "reason": self.reason,
            "exit_code": self.exit_code,
            "signal": self.exit_signal_name,
            "registered_at": self.registered_at,
            "started_at": self.started_at,
            "ready_at": self.ready_at,
            "ended_at": self.ended_at,
            "heartbeat_at": self.heartbeat_at,
            "restarts_at": self.restarts_at,
            "seconds": None if self.started_at is None else round(until - self.started_at, 3),
        }
