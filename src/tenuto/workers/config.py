"""The settings of workers and of maintenance. Durations are in seconds: this is a door where people stand.

`WorkerConfig` is what one worker works by. `AgentWorkerConfig` and `MaintenanceWorkerConfig` are what people write when
they register an agent with an orchestrator; the first describes a number of worker processes and the heartbeat from
which the lease follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from tenuto.errors import InvalidInput
from tenuto.stores.base import TimeToLive
from tenuto.tasks.clock import duration

__all__ = ["AgentWorkerConfig", "MaintenanceWorkerConfig", "TaskTTLConfig", "WorkerConfig"]


def _count(owner: object, name: str, least: int, most: int) -> None:
    value = getattr(owner, name)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(f"{name} must be a whole number from {least:,} to {most:,}, not {value!r}")


def _seconds(owner: object, name: str, least: float, most: float) -> None:
    value = getattr(owner, name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not sound or not least <= value <= most:
        raise InvalidInput(f"{name} must be between {least:g} and {most:g} seconds, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class TaskTTLConfig:
    """How long finished tasks are kept, in seconds, by how they ended."""

    completed_ttl: float = 3600
    failed_ttl: float = 86400
    cancelled_ttl: float = 1800

    def __post_init__(self) -> None:
        for name in ("completed_ttl", "failed_ttl", "cancelled_ttl"):
            duration(getattr(self, name), name)

    def time_to_live(self) -> TimeToLive:
        """The same as the store counts it; idempotency keys keep the store's own time to live."""
        return TimeToLive(
            done=duration(self.completed_ttl, "completed_ttl"),
            failed=duration(self.failed_ttl, "failed_ttl"),
            cancelled=duration(self.cancelled_ttl, "cancelled_ttl"),
        )


@dataclass(frozen=True, kw_only=True)
class MaintenanceWorkerConfig:
    """How the store is swept: leases that ended, due timers, schedules, and the purge of old trees."""

    interval: float = 10
    """sweep at least this often, seconds; timers are met on time whatever this says"""
    workers: int = 1
    """how many sweep at once; more than one is harmless and rarely useful"""
    task_ttl: TaskTTLConfig | None = None
    """how long finished tasks are kept; None: 30 days"""
    max_cleanup_batch: int = 1_000
    """most items handled in one transaction"""

    def __post_init__(self) -> None:
        _seconds(self, "interval", 0.01, 86_400)
        _count(self, "workers", 1, 64)
        _count(self, "max_cleanup_batch", 1, 100_000)
        if self.task_ttl is not None and not isinstance(self.task_ttl, TaskTTLConfig):
            raise InvalidInput(f"task_ttl must be a TaskTTLConfig or None, not {type(self.task_ttl).__name__}")

    def time_to_live(self) -> TimeToLive:
        """How long finished trees are kept."""
        return TimeToLive() if self.task_ttl is None else self.task_ttl.time_to_live()


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """What one worker works by."""

    concurrency: int = 25
    """tasks that run at once"""
    prefetch: int | None = None
    """most tasks claimed ahead; None: as many as run at once, at least 100. Slow tasks are never claimed ahead"""
    lease: float = 30.0
    """how long a task is held without a word from the worker, seconds"""
    grace: float = 10.0
    """how long a draining worker may take, seconds"""
    poll: float = 1.0
    """an idle worker asks at least this often, seconds; hints make it ask at once"""
    max_retries: int | None = None
    """retries where neither the task nor its agent says; None: 5"""
    turn_timeout: float = 120.0
    """most seconds for one turn of an agent that works in turns"""
    maintenance: MaintenanceWorkerConfig | None = field(default_factory=MaintenanceWorkerConfig)
    """None: somebody else sweeps"""

    def __post_init__(self) -> None:
        _count(self, "concurrency", 1, 10_000)
        if self.prefetch is not None:
            _count(self, "prefetch", 0, 10_000)
        _seconds(self, "lease", 0.1, 86_400)
        _seconds(self, "grace", 0, 86_400)
        _seconds(self, "poll", 0.005, 3_600)
        if self.max_retries is not None:
            _count(self, "max_retries", 0, 1_000_000)
        _seconds(self, "turn_timeout", 0.001, 86_400)


@dataclass(frozen=True, kw_only=True)
class AgentWorkerConfig:
    """How an agent's tasks are worked on: what `register_runner` takes."""

    workers: int = 1
    """worker processes"""
    batch_size: int = 25
    """tasks in flight per worker"""
    max_retries: int = 5
    """retries after the first attempt, where neither the task nor its agent says"""
    heartbeat_interval: float = 5
    """seconds"""
    missed_heartbeats_threshold: int = 5
    """so many heartbeats missed in a row, and the worker counts as gone"""
    missed_heartbeats_grace_period: float = 5
    """seconds on top of that"""
    turn_timeout: float = 120
    """most seconds for one turn of an agent that works in turns"""
    shutdown_grace: float = 10
    """how long a worker may take to stop, seconds"""

    def __post_init__(self) -> None:
        _count(self, "workers", 1, 1_024)
        _count(self, "batch_size", 1, 10_000)
        _count(self, "max_retries", 0, 1_000_000)
        _seconds(self, "heartbeat_interval", 0.05, 3_600)
        _count(self, "missed_heartbeats_threshold", 1, 1_000)
        _seconds(self, "missed_heartbeats_grace_period", 0, 3_600)
        _seconds(self, "turn_timeout", 0.001, 86_400)
        _seconds(self, "shutdown_grace", 0, 86_400)
        if not 0.1 <= self.lease <= 86_400:
            raise InvalidInput(
                "heartbeat_interval × missed_heartbeats_threshold + missed_heartbeats_grace_period is the lease and "
                f"must be between 0.1 seconds and one day, not {self.lease:g} seconds"
            )

    @property
    def lease(self) -> float:
        """How long a silent worker keeps its tasks, seconds."""
        return self.heartbeat_interval * self.missed_heartbeats_threshold + self.missed_heartbeats_grace_period

    def worker_config(self, maintenance: MaintenanceWorkerConfig | None = None) -> WorkerConfig:
        """What each of the workers works by; `maintenance` None: they do not sweep."""
        return WorkerConfig(
            concurrency=self.batch_size,
            lease=self.lease,
            grace=self.shutdown_grace,
            max_retries=self.max_retries,
            turn_timeout=self.turn_timeout,
            maintenance=maintenance,
        )
