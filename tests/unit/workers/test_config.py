"""The settings of workers: what they mean, and one sentence for each that makes no sense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.workers.config import AgentWorkerConfig, MaintenanceWorkerConfig, TaskTTLConfig, WorkerConfig


def test_the_lease_follows_from_the_heartbeat() -> None:
    config = AgentWorkerConfig()
    assert config.lease == 5 * 5 + 5
    worker = AgentWorkerConfig(batch_size=7, max_retries=2, turn_timeout=9).worker_config()
    assert (worker.concurrency, worker.lease, worker.max_retries, worker.turn_timeout) == (7, 30, 2, 9)
    assert worker.maintenance is None


def test_times_to_live_are_given_in_seconds() -> None:
    ttl = MaintenanceWorkerConfig(task_ttl=TaskTTLConfig()).time_to_live()
    assert (ttl.done, ttl.failed, ttl.cancelled) == (3_600_000, 86_400_000, 1_800_000)
    assert MaintenanceWorkerConfig().time_to_live().done == 30 * 86_400_000


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        (WorkerConfig, "concurrency", 0),
        (WorkerConfig, "concurrency", True),
        (WorkerConfig, "lease", 0.0),
        (WorkerConfig, "lease", float("nan")),
        (WorkerConfig, "grace", -1),
        (WorkerConfig, "prefetch", -1),
        (WorkerConfig, "max_retries", 1.5),
        (AgentWorkerConfig, "workers", 0),
        (AgentWorkerConfig, "batch_size", "25"),
        (AgentWorkerConfig, "heartbeat_interval", 0),
        (AgentWorkerConfig, "missed_heartbeats_grace_period", float("inf")),
        (MaintenanceWorkerConfig, "interval", 0),
        (MaintenanceWorkerConfig, "max_cleanup_batch", 0),
        (MaintenanceWorkerConfig, "task_ttl", 3600),
        (TaskTTLConfig, "completed_ttl", -1),
    ],
    ids=str,
)
def test_a_bad_field_is_named(kind: Callable[..., Any], field: str, value: Any) -> None:
    with pytest.raises(InvalidInput, match=field):
        kind(**{field: value})


def test_a_lease_that_is_too_long_is_refused() -> None:
    with pytest.raises(InvalidInput, match="heartbeat_interval"):
        AgentWorkerConfig(heartbeat_interval=3_600, missed_heartbeats_threshold=1_000)
