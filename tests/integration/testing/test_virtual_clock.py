"""Time that a test moves: what is due comes due, and nobody waits for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tenuto import AgentWorkerConfig, Orchestrator, open_store, task_agent
from tenuto.errors import InvalidInput
from tenuto.testing import VirtualClock


@task_agent
def remind(payload: str) -> str:
    return f"do not forget: {payload}"


def test_it_stands_still_until_it_is_moved() -> None:
    clock = VirtualClock(datetime(2030, 1, 1, tzinfo=UTC))
    assert clock() == clock() == clock.now == 1_893_456_000_000
    assert clock.advance(1.5) == 1_893_456_001_500
    assert clock.advance(timedelta(hours=1)) == clock.now == 1_893_459_601_500
    with pytest.raises(InvalidInput, match="seconds must be between 0 seconds"):
        clock.advance(-1)


async def test_a_task_for_tomorrow_runs_when_the_clock_is_moved() -> None:
    # Given
    clock = VirtualClock()
    tomorrow = datetime.fromtimestamp(clock.now / 1000, UTC) + timedelta(days=1)
    async with Orchestrator(store=open_store("memory://", clock=clock)) as orchestrator:
        orchestrator.register_runner(remind, AgentWorkerConfig(workers=1))
        task = remind.create_task(payload="the milk", run_at=tomorrow)
        await orchestrator.enqueue_task(remind, task)
        assert await orchestrator.get_task_status(task.id) == "queued"
        # When
        clock.advance(timedelta(days=1))
        # Then
        assert await orchestrator.get_task_result(task.id, timeout=60) == "do not forget: the milk"
