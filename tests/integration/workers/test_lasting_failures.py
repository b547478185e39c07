"""Failures that are on record: a task that ends with one is not tried again, until a person has changed the record."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest

from tenuto.agents.function import task_agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.workers.context import Context
from tests.integration.workers.rig import ended, submit, until, working

ran: Counter[str] = Counter()


@pytest.fixture(autouse=True)
def fresh() -> None:
    ran.clear()


class CardRefused(Exception):
    """The bank says no."""


async def test_a_step_that_runs_once_and_fails_ends_its_task_at_once(store: Store) -> None:
    # Given a step that may run only once, and fails the first time
    def refused(idempotency_key: str) -> str:
        ran["charge"] += 1
        if ran["charge"] == 1:
            raise CardRefused("no money")
        return "paid"

    @task_agent(name="buyer", retry=RetryPolicy(max_retries=5, base=0))
    async def buy(ctx: Context) -> str:
        try:
            return str(await ctx.step("charge", refused, effect="once"))
        except CardRefused as error:
            raise RuntimeError("nothing was bought") from error

    async with working(store, buy):
        (task_id,) = await submit(store, buy.create_task())
        # When its task has ended, also when it is retried as it is
        client = Client(store)
        for attempt in (1, 2):
            task = await until(store, task_id, lambda task: task.is_final)
            # Then it was not tried again by itself, and says why, and what a person can do
            assert (task.state, task.attempt) == (State.FAILED, attempt)
            assert task.error is not None
            assert task.error.type == "RuntimeError"
            assert task.error.message == (
                "nothing was bought (this is on record as the outcome of step 'charge#0', so trying the task again "
                f"would not help: resolve_step({task_id!r}, 'charge#0', 'retry' or 'done') changes that, then retry "
                "the task)"
            )
            if attempt == 1:
                await client.retry_task(task_id)
        assert ran == {"charge": 1}
        # When a person lets it run again
        await client.resolve_step(task_id, "charge#0", "retry")
        await client.retry_task(task_id)
        # Then it does
        task = await until(store, task_id, lambda task: task.state is State.DONE)
    assert (msgspec.json.decode(task.result or b""), ran) == ("paid", {"charge": 2})


async def test_a_step_that_failed_and_was_caught_hinders_no_retry(store: Store) -> None:
    def refused() -> str:
        raise CardRefused("no money")

    @task_agent(name="buyer", retry=RetryPolicy(max_retries=5, base=0))
    async def buy(ctx: Context) -> str:
        try:
            await ctx.step("charge", refused, effect="once")
        except CardRefused:
            ran["tried"] += 1
            if ran["tried"] < 3:
                raise ConnectionError("the bank is away")  # noqa: B904 - from nothing but the bank's absence
        return "on account"

    async with working(store, buy):
        (task_id,) = await submit(store, buy.create_task())
        task = await ended(store, task_id)
    assert (task.state, ran) == (State.DONE, {"tried": 3})
