"""Responses that a provider suspends: gone on with by whoever takes over, paid once, and read as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openai import AsyncOpenAI
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.replay import replay_task
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.usage import CallState
from tenuto.testing import CrashRun, Endpoint, Reply, Request, ToolCall, Usage, crash_matrix
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import Clock, ended, eventually, until, waits, working

LOOK = ToolCall("look", {"place": "shop"}, "c1")
USED = Usage(input=1_000, output=100)
QUICK = RetryPolicy(max_retries=5, base=1)


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def anthropic(url: str) -> Model:
    return build_model("anthropic:claude-haiku-4-5", base_url=url, keys={"anthropic": "sk-test"})


class Quick(OpenAIResponsesModel):
    """Asks for a response in the background more often than the library does."""

    def continuation_delay(self, response: ModelResponse) -> float | None:
        return None if super().continuation_delay(response) is None else 0.02


def openai(url: str) -> Model:
    return Quick("gpt-5-mini", provider=OpenAIProvider(base_url=url, api_key="sk-test"))


def paused(request: Request) -> Reply:
    """Twice a pause within the first answer, then a tool, then the end."""
    if request.messages[-1].role == "assistant":
        said = request.messages[-1].text
        if "looking" not in said:
            return Reply(text="looking", stop="pause", usage=USED)
        return Reply(text="it up.", tools=[LOOK], usage=USED)
    return Reply(text="I am", stop="pause", usage=USED) if request.turn == 1 else Reply(text="open", usage=USED)


def pausing(url: str) -> Agent:
    return Agent("pauser", "Serve.", partial(anthropic, url), [look])


def background(url: str, **options: Any) -> Agent:
    settings: Any = {"openai_background": True}
    return Agent("patient", "Serve.", partial(openai, url), [look], model_settings=settings, retry=QUICK, **options)


IN_BACKGROUND: list[Any] = [Reply(tools=[LOOK], usage=USED), Reply(text="open", usage=USED)]


async def test_a_response_in_several_parts_is_one_turn(store: Store) -> None:
    # Given a provider that pauses twice within its first answer
    with Endpoint(paused) as endpoint:
        agent = pausing(endpoint.anthropic_url)
        async with working(store, agent):
            # When a task is worked on
            task = await ended(store, await ask(store, agent))
            # Then each part was asked for once, and is on record under a name of its own
            assert task.state is State.DONE, task.error
            assert endpoint.count() == 4
            assert [step.key for step in await store.journal(task.id)] == [
                "turn-1/model#0",
                "turn-1/model#1",
                "turn-1/model#2",
                "turn-1/call-c1/look",
                "turn-2/model#0",
            ]
            # And whoever reads it reads one response, which the next turn does not repeat
            client = Client(store)
            first, second = await client.get_turns(task.id)
            assert [part.get("content") for part in first.response["parts"]] == ["I am", "looking", "it up.", None]
            assert first.response["state"] == "complete"
            assert first.response["usage"]["input_tokens"] == 3_000
            assert (second.kept, len(second.messages)) == (2, 1)
            assert first.cost == 3 * second.cost
            told = [event.data["data"] for event in await events(store, task.id)]
            assert [each["turn"] for each in told] == [1, 2]
            assert told[0]["usage"] == {"input_tokens": 3_000, "output_tokens": 300}
            # And it is forked and replayed as any
            forked = await ended(store, await client.fork_task(task.id, 1))
            assert forked.state is State.DONE, forked.error
            assert endpoint.count() == 5
        assert not (await replay_task(store, task.id, agent)).departs


async def test_the_most_that_the_next_part_can_take_is_set_aside(store: Store) -> None:
    # Given a provider that pauses
    with Endpoint(paused) as endpoint:
        agent = pausing(endpoint.anthropic_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    # Then each part was reserved as a request of its own: what the last one took in and said, and not all of them
    entries = await store.ledger(task.id)
    assert [entry.call for entry in entries][:3] == ["turn-1/model#0", "turn-1/model#1", "turn-1/model#2"]
    assert all(entry.state is CallState.SETTLED and entry.actual is not None for entry in entries)
    assert all(entry.actual.tokens == 1_100 for entry in entries if entry.actual is not None)
    assert all(8_192 + 1_100 < entry.bound.tokens < 8_192 + 1_500 for entry in entries[1:3])


@pytest.mark.timeout(600)
async def test_a_pause_that_is_killed_anywhere_is_paid_for_once(tmp_path: Path) -> None:
    with Endpoint(paused) as endpoint:
        seen = 0

        def check(run: CrashRun) -> None:
            # Then no part that was recorded was asked for again
            nonlocal seen
            asked, seen = endpoint.count() - seen, endpoint.count()
            assert asked <= 4 + len(run.crashes), run.place

        # Given a task, and when its worker is killed
        agent = pausing(endpoint.anthropic_url)
        runs = await crash_matrix(agent, agent.create_task(payload="go"), folder=tmp_path, check=check, every=6)
    assert {run.result for run in runs} == {stored("open")}
    assert len(runs) > 4


@pytest.mark.timeout(600)
async def test_a_response_in_the_background_that_is_killed_anywhere_is_made_once(tmp_path: Path) -> None:
    with Endpoint(IN_BACKGROUND) as endpoint:
        seen = 0

        def check(run: CrashRun) -> None:
            # Then no response that has a name on record was made again, and each is settled at what it cost
            nonlocal seen
            asked, seen = endpoint.count() - seen, endpoint.count()
            assert asked <= 2 + len(run.crashes), run.place
            settled = [entry for entry in run.ledger if entry.state is CallState.SETTLED and entry.counted.tokens]
            assert [entry.call for entry in settled] == ["turn-1/model#0", "turn-2/model#0"], run.place
            assert [entry.counted.tokens for entry in settled] == [1_100, 1_100]
            assert len(run.ledger) == asked, run.place

        # Given a task, and when its worker is killed
        agent = background(endpoint.openai_url)
        runs = await crash_matrix(agent, agent.create_task(payload="go"), folder=tmp_path, check=check, every=6)
    assert {run.result for run in runs} == {stored("open")}
    assert len(runs) > 4


async def test_a_response_in_the_background_is_waited_for_in_the_store(store: Store, clock: Clock) -> None:
    # Given a provider that takes its time
    with Endpoint([Reply(text="open", hold="work", usage=USED)]) as endpoint:
        agent = background(endpoint.openai_url)
        async with working(store, agent):
            task_id = await ask(store, agent)
            await asyncio.to_thread(endpoint.wait_for, 1, outcome="answered")
            await eventually(lambda: recorded(store, task_id, "turn-1/model#0"))
            # When it has taken some minutes
            clock.forward(300)
            # Then nobody holds the task, which says when it goes on, and its most is still set aside
            task = await until(store, task_id, waits)
            assert task.wait is not None
            assert task.wait.until is not None
            assert 5_000 < task.wait.until - clock() <= 60_000
            (entry,) = await store.ledger(task_id)
            assert entry.counted == entry.bound
            # And it has what the provider made, when that is there
            endpoint.release("work")
            clock.forward(60)
            task = await ended(store, task_id)
        assert task.state is State.DONE, task.error
        assert endpoint.count() == 1
    (entry,) = await store.ledger(task_id)
    assert entry.state is CallState.SETTLED
    assert entry.counted.tokens == 1_100
    assert [step.key for step in await store.journal(task_id)] == ["turn-1/model#0", "turn-1/model#1"]
    (turn,) = await Client(store).get_turns(task_id)
    assert [part["content"] for part in turn.response["parts"]] == ["open"]


async def events(store: Store, task_id: str) -> list[Event]:
    """Those that the agent has told."""
    return [event for event in (await store.events(task_id=task_id)).events if event.kind is EventKind.EMITTED]


async def recorded(store: Store, task_id: str, key: str) -> bool:
    return any(step.key == key and step.value is not None for step in await store.journal(task_id))


async def test_a_worker_that_lets_go_leaves_the_response_to_the_next_one(store: Store) -> None:
    # Given a provider that takes its time
    with Endpoint([Reply(text="open", hold="work", usage=USED)]) as endpoint:
        agent = background(endpoint.openai_url)
        # When the worker is stopped meanwhile
        async with working(store, agent):
            task_id = await ask(store, agent)
            await eventually(lambda: recorded(store, task_id, "turn-1/model#0"))
        # Then the next one gets what was being made
        endpoint.release("work")
        async with working(store, agent):
            task = await ended(store, task_id)
        assert task.state is State.DONE, task.error
        assert endpoint.count() == 1


@pytest.fixture
async def jobs() -> AsyncIterator[tuple[Endpoint, AsyncOpenAI]]:
    with Endpoint([Reply(text="never", hold="work")]) as endpoint:
        async with AsyncOpenAI(base_url=endpoint.openai_url, api_key="sk-test") as sdk:
            yield endpoint, sdk


async def test_a_task_that_is_cancelled_ends_the_response_too(store: Store, jobs: tuple[Endpoint, AsyncOpenAI]) -> None:
    # Given a response that is being made
    endpoint, sdk = jobs
    agent = background(endpoint.openai_url)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await eventually(lambda: recorded(store, task_id, "turn-1/model#0"))
        name = (await Client(store).get_turns(task_id))[0].response["provider_response_id"]
        # When somebody cancels the task
        await Client(store).cancel_task(task_id)
        await ended(store, task_id)

        # Then the provider makes it no longer
        async def gone() -> bool:
            return (await sdk.responses.retrieve(name)).status == "cancelled"

        await eventually(gone)


async def test_a_response_that_came_to_nothing_is_made_anew(store: Store) -> None:
    # Given a provider that fails once, after it has begun, and steering that went into that request
    replies: list[Any] = [[Reply(status=500), Reply(text="open", usage=USED)]]
    with Endpoint(replies) as endpoint:
        agent = background(endpoint.openai_url)
        task_id = await ask(store, agent)
        await store.signal([Signal(task_id, SignalKind.STEER, data="and hurry")])
        # When a task is worked on
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then the request was made again, as it was, and what it had set aside stays counted
        assert task.state is State.DONE, task.error
        assert endpoint.count() == 2
        assert endpoint.calls[0].text == endpoint.calls[1].text
        assert "and hurry" in endpoint.calls[1].text
    assert [entry.state for entry in await store.ledger(task_id)] == [CallState.UNKNOWN, CallState.SETTLED]
    (turn,) = await Client(store).get_turns(task_id)
    assert (turn.steered, len(turn.messages)) == (1, 1)
    assert [part["content"] for part in turn.messages[0]["parts"]] == ["go", "and hurry"]
    assert not (await replay_task(store, task_id, agent)).departs


async def test_a_response_that_is_not_kept_any_more_is_made_anew(store: Store) -> None:
    # Given a provider that does not keep the response until it is made
    with Endpoint([Reply(text="open", hold="work")]) as endpoint:
        agent = background(endpoint.openai_url)
        async with working(store, agent):
            task_id = await ask(store, agent)
            await eventually(lambda: recorded(store, task_id, "turn-1/model#0"))
            endpoint.forget()
            endpoint.release("work")
            # When it is asked for
            task = await ended(store, task_id)
        # Then it is made anew
        assert task.state is State.DONE, task.error
        assert endpoint.count() == 2


async def test_a_response_that_only_comes_to_nothing_is_not_made_for_ever(store: Store) -> None:
    with Endpoint([[Reply(status=500, error="out of order")]]) as endpoint:
        agent = background(endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        assert task.state is State.FAILED
        assert task.error is not None
        assert "came to nothing" in task.error.message
        assert "out of order (3 times, so it is not tried again)" in task.error.message
        assert endpoint.count() == 3
