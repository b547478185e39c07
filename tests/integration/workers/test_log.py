"""What a worker's log says of attempts that fail."""

from __future__ import annotations

import pytest

from tenuto.agents.function import task_agent
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tests.integration.workers.rig import submit, until, working


async def test_each_attempt_that_fails_is_told_in_one_line_without_secrets(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    # Given an agent whose bank is away
    @task_agent(name="buyer", retry=RetryPolicy(max_retries=1, base=20, jitter=0))
    def buy(payload: str) -> str:
        if payload == "well":
            return "bought"
        raise ConnectionError("the bank\nis away: it refused sk-abcdefghijklmnop")

    # When a task fails, is tried again, and fails for good; and another is done
    async with working(store, buy):
        bad, good = await submit(store, buy.create_task(payload="badly"), buy.create_task(payload="well"))
        await until(store, bad, lambda task: task.state is State.FAILED)
        await until(store, good, lambda task: task.state is State.DONE)
    # Then
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    why = "ConnectionError: the bank is away: it refused sk-***"
    assert "an attempt has failed" in lines[0]
    assert "a task has failed" in lines[1]
    for number, line in enumerate(lines, 1):
        assert f"agent=buyer attempt={number}" in line
        assert f"task={bad}" in line
        assert f"why='{why}'" in line
    assert "next_in_s=0.02" in lines[0]
