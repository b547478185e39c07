"""Requests that go through a provider's batches (`BatchModelRequests`): asked once, waited for, and paid for once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic_ai.capabilities import BatchModelRequests

from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.outcome import StepState
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tenuto.testing import CrashRun, Endpoint, EndpointProcess, Reply, ToolCall, Usage, crash_matrix
from tests.integration.llm.rig import ask, asking, stored
from tests.integration.workers.rig import Clock, ended, until, waits, working

SOON = timedelta(milliseconds=20)
RETRY = RetryPolicy(max_retries=2, base=1)
TURNS = [
    Reply(tools=[ToolCall("look", {"place": "shop"})], usage=Usage(input=100, output=20)),
    Reply(text="open", usage=Usage(input=150, output=10)),
]


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def clerk(**batching: Any) -> Agent:
    """An agent whose requests go in batches."""
    batches = BatchModelRequests(**{"max_wait": SOON, "poll_interval": SOON, **batching})
    return Agent("clerk", "Serve.", "anthropic:claude-haiku-4-5", [look], capabilities=[batches], retry=RETRY)


CLERK = clerk()


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointProcess]:
    with EndpointProcess(TURNS) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        yield endpoint


async def test_a_request_in_a_batch_is_one_call_at_the_price_of_a_batch(
    engine: Store, provider: EndpointProcess
) -> None:
    # Given an agent that asks by batches
    # When it has worked on a task
    async with working(engine, CLERK):
        task = await ended(engine, await ask(engine, CLERK))
    # Then each turn is one call of the ledger, at half of $1 and $5 per million tokens, and nobody was asked twice
    assert bytes(task.result or b"") == stored("open"), task.error
    entries = await engine.ledger(task.id)
    assert [(entry.call, entry.state) for entry in entries] == [
        ("turn-1/model#0", CallState.SETTLED),
        ("turn-2/model#0", CallState.SETTLED),
    ]
    assert [entry.counted.money for entry in entries] == [100_000, 100_000]
    assert provider.count() == 2


async def test_a_task_waits_in_the_store_for_its_batch(
    store: Store, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider whose batch takes long
    with Endpoint([Reply(text="at last", hold="gate")]) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = clerk(poll_interval=timedelta(seconds=6), max_poll_interval=timedelta(seconds=6))
        async with working(store, agent):
            task_id = await ask(store, agent)
            # When it is asked for again
            task = await until(store, task_id, waits)
            # Then the task waits, with the batch on record, and the request as it was set aside
            assert task.wait is not None
            assert not task.wait.people
            (step,) = await store.journal(task_id)
            assert (step.key, step.state) == ("turn-1/model#0", StepState.DONE)
            (entry,) = await store.ledger(task_id)
            assert entry.actual is None
            # When the batch has ended, and it is time
            endpoint.release("gate")
            clock.forward(60)
            task = await ended(store, task_id)
    # Then it goes on with what has come
    assert (task.state, bytes(task.result or b"")) == (State.DONE, stored("at last")), task.error
    assert endpoint.count() == 1


async def test_a_kill_at_any_request_loses_no_batch_that_is_on_record(
    tmp_path: Path, provider: EndpointProcess
) -> None:
    # Given an agent that asks by batches, whose worker is killed at its requests to the store and over HTTP
    asked = 0

    def check(run: CrashRun) -> None:
        nonlocal asked
        before, asked = asked, provider.count()
        # Then what was lost between its submission and its record is asked again, and nothing else
        assert asked - before <= 2 + len(run.unknown) <= 2 + len(run.crashes), run.place

    # When its task is done all the same
    runs = await crash_matrix(CLERK, asking(CLERK), folder=tmp_path, check=check, every=3)
    # Then it has ended as it would have undisturbed
    assert {run.result for run in runs} == {stored("open")}
    assert len(runs) > 8


async def test_what_a_batch_refuses_for_now_is_asked_for_in_another_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider that refuses the request in its first batches
    with Endpoint([[Reply(status=529), Reply(status=500), Reply(text="open")]]) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = clerk(max_resubmissions=0)
        # When it has worked on a task
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        # Then each attempt had a batch of its own, and what may have been paid for stays counted
        assert bytes(task.result or b"") == stored("open"), task.error
        assert endpoint.count() == 3
    states = [entry.state for entry in await store.ledger(task.id)]
    assert states == [CallState.SETTLED, CallState.UNKNOWN, CallState.SETTLED]


async def test_what_a_batch_refuses_for_good_costs_nothing_and_is_asked_for_again_on_demand(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider that refuses the request in its first batch
    with Endpoint(
        [[Reply(status=400, error="too long"), Reply(text="open", usage=Usage(input=100, output=20))]]
    ) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = clerk()
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
            # Then the task fails at once, as with a request of its own, and nothing is counted
            assert task.error is not None
            assert (task.state, endpoint.count()) == (State.FAILED, 1)
            assert task.error.message.endswith("answered with HTTP 400: too long")
            (entry,) = await store.ledger(task.id)
            assert (entry.state, entry.counted.money) == (CallState.SETTLED, 0)
            # When somebody retries the task
            await Client(store).retry_task(task.id)
            task = await ended(store, task.id)
        # Then the provider is asked again
        assert bytes(task.result or b"") == stored("open"), task.error
        assert [entry.counted.money for entry in await store.ledger(task.id)] == [0, 100_000]
