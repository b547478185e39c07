"""Streaming: what the model says is told while it says it; the journal has the whole message, as without."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from pydantic_ai.messages import ModelMessage, PartDeltaEvent, PartEndEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, DeltaToolCalls, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.command_model import CommandModel
from tenuto.agents.llm.streaming import Tokens, pause_after
from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.event import STREAMED, Event
from tenuto.tasks.lease import Hold
from tenuto.tasks.outcome import Answer, Record, Recorded
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply, ScriptedModel, ToolCall
from tests.integration.llm.rig import ask
from tests.integration.workers.rig import Clock, crashed, ended, until, working

Says = Callable[[list[ModelMessage], AgentInfo], AsyncIterator[str | DeltaToolCalls]]


def streaming(says: Says) -> FunctionModel:
    return FunctionModel(stream_function=says)


async def tokens(store: Store, task_id: str) -> list[dict[str, Any]]:
    """What was told of the task's tokens, by one who comes late."""
    return [data for _, data in await streamed(store, task_id, "tokens")]


async def streamed(store: Store, task_id: str, *names: str) -> list[tuple[str, dict[str, Any]]]:
    """The same of all that agents tell while they are answered: names and data."""
    updates = Client(store).subscribe_to_updates(task_ids=task_id, event_types=names or sorted(STREAMED))
    return [(event.data["name"], event.data["data"]) async for event in updates]


def put_together(told: list[tuple[str, dict[str, Any]]]) -> dict[tuple[int, int, int], tuple[str, str, bool]]:
    """By turn, request and part: of which kind it is, what was said, and whether it is over. Checks that it fits."""
    parts: dict[tuple[int, int, int], tuple[str, str, bool]] = {}
    for name, data in told:
        request = data["turn"], data.get("request", 0)
        if name == "tokens_reset":
            parts = {place: part for place, part in parts.items() if place[:2] != request}
            continue
        place = *request, data["part"]
        kind, before, over = parts.get(place, (name, "", False))
        assert (kind, len(before), over) == (name, data["at"], False)
        parts[place] = name, before + data["args" if name == "tool_args" else "text"], data.get("end", False)
    return parts


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


async def test_what_is_said_arrives_before_the_turn_has_ended(store: Store) -> None:
    # Given a model that goes on only when somebody has heard its first words
    heard = asyncio.Event()

    async def says(_: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        yield "Once upon "
        yield "a time "
        await heard.wait()
        yield "there was "
        yield "a task."

    agent = Agent("writer", None, streaming(says), stream=True)
    told: list[Event] = []
    async with working(store, agent):
        task_id = await ask(store, agent)
        # When somebody follows
        async with asyncio.timeout(60):
            async for event in Client(store).subscribe_to_updates(task_ids=task_id, event_types=["tokens", "done"]):
                told.append(event)
                heard.set()
    # Then everything was told in order, and the task's end behind it
    *batches, end = told
    assert end.kind.value == "done"
    assert len(batches) >= 2
    data = [event.data["data"] for event in batches]
    assert "".join(each["text"] for each in data) == "Once upon a time there was a task."
    assert [each["at"] for each in data] == [sum(len(b["text"]) for b in data[:n]) for n in range(len(data))]
    assert {each["turn"] for each in data} == {1}
    # And the journal has the whole message, as ever
    (turn,) = await Client(store).get_turns(task_id)
    assert turn.response["parts"][0]["content"] == "Once upon a time there was a task."


async def test_who_comes_late_hears_all_of_it_and_a_cursor_goes_on_where_it_was(store: Store) -> None:
    model = ScriptedModel([Reply(tools=[ToolCall("look", {"place": "shop"})], text="Let me see."), "It is open."])
    agent = Agent("buyer", None, model, [look], stream=True)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    told = await tokens(store, task.id)
    said = {turn: "".join(each["text"] for each in told if each["turn"] == turn) for turn in (1, 2)}
    assert said == {1: "Let me see.", 2: "It is open."}
    client = Client(store)
    updates = client.subscribe_to_updates(task_ids=task.id, event_types=["tokens"])
    first = await anext(updates)
    await updates.aclose()
    rest = client.subscribe_to_updates(task_ids=task.id, event_types=["tokens"], after=first.cursor)
    assert [event.data["data"] async for event in rest] == told[1:]


async def test_thoughts_and_calls_are_told_part_by_part(store: Store) -> None:
    # Given a model that thinks, speaks, and calls two tools, one of them without arguments
    calls = [ToolCall("look", {"place": "the shop at the corner"}, "c1"), ToolCall("wait", {}, "c2")]
    model = ScriptedModel([Reply(thinking="Where could it be?", text="Let me see.", tools=calls), "It is open."])

    def wait() -> str:
        """Waits."""
        return "waited"

    agent = Agent("buyer", None, model, [look, wait], stream=True)
    # When it has answered
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then each part was told with its beginning and its end
    assert task.state is State.DONE, task.error
    told = await streamed(store, task.id)
    assert put_together(told) == {
        (1, 0, 0): ("thinking", "Where could it be?", True),
        (1, 0, 1): ("tokens", "Let me see.", True),
        (1, 0, 2): ("tool_args", '{"place":"the shop at the corner"}', True),
        (1, 0, 3): ("tool_args", "{}", True),
        (2, 0, 0): ("tokens", "It is open.", True),
    }
    named = {(data["tool"], data["call"], data["part"]) for name, data in told if name == "tool_args"}
    assert named == {("look", "c1", 2), ("wait", "c2", 3)}


async def test_an_answer_that_its_provider_pauses_is_told_request_by_request(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Endpoint([Reply(text="First half,", stop="pause"), " second half."]) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = Agent("writer", None, "anthropic:claude-haiku-4-5", stream=True)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert put_together(await streamed(store, task.id)) == {
        (1, 0, 0): ("tokens", "First half,", True),
        (1, 1, 0): ("tokens", " second half.", True),
    }


async def test_nothing_is_told_unless_it_is_asked_for(store: Store) -> None:
    agent = Agent("buyer", None, ScriptedModel(["It is open."]))
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert await tokens(store, task.id) == []
    turns = Client(store).subscribe_to_updates(task_ids=task.id, event_types=["turn"])
    assert [event.data["name"] async for event in turns] == ["turn"]
    with pytest.raises(InvalidInput, match="is no type of event"):
        await anext(Client(store).subscribe_to_updates(task_ids=task.id, event_types=["token"]))


@pytest.mark.parametrize("first", [False, True])
async def test_switching_it_on_or_off_fits_what_is_on_record(store: Store, first: bool) -> None:
    # Given a task that was paused behind its first turn
    model = ScriptedModel([Reply(tools=[ToolCall("look", {"place": "shop"})]), "It is open."])

    async def pausing(place: str) -> str:
        await store.signal([Signal(task_id, SignalKind.PAUSE)])
        return f"{place} is open"

    pausing.__name__ = "look"
    agent = Agent("buyer", None, model, [pausing], stream=first)
    task_id = await ask(store, agent)
    async with working(store, agent):
        await until(store, task_id, lambda task: task.paused and task.state is State.READY)
    # When it goes on under an agent that streams where the other did not
    await store.signal([Signal(task_id, SignalKind.RESUME)])
    async with working(store, Agent("buyer", None, model, [look], stream=not first)):
        task = await ended(store, task_id)
    # Then nothing is asked twice
    assert task.state is State.DONE, task.error
    assert model.count() == 2
    assert [key for key in (step.key for step in await store.journal(task_id)) if "model" in key] == [
        "turn-1/model#0",
        "turn-2/model#0",
    ]


async def test_a_stream_that_breaks_is_asked_for_again_and_nothing_of_it_is_on_record(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a provider whose first answer is cut off in the middle
    words = "one two three four five six seven eight nine ten"
    async with Endpoint([[Reply(text=words, cut_after_events=3), Reply(text=words)]]) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        agent = Agent("counter", None, "openai-chat:gpt-5-mini", stream=True)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    # Then the task came to its end with the second
    assert task.state is State.DONE, task.error
    assert [c.outcome for c in endpoint.calls] == ["cut", "answered"]
    (turn,) = await Client(store).get_turns(task.id)
    assert turn.response["parts"][0]["content"] == words
    scheduled = [event for event in (await store.events(task_id=task.id)).events if event.kind.value == "scheduled"]
    assert [event.data["error"]["type"].rpartition(".")[2] for event in scheduled] == ["ModelError"]
    # And who listens knows that what was said before is void
    told = await streamed(store, task.id)
    assert [data for name, data in told if name == "tokens_reset"] == [{"turn": 1, "attempt": 2}]
    assert "tokens" in [name for name, _ in told[: told.index(("tokens_reset", {"turn": 1, "attempt": 2}))]]
    assert put_together(told) == {(1, 0, 0): ("tokens", words, True)}


async def test_a_pause_while_the_model_speaks_loses_nothing_that_was_paid_for(store: Store) -> None:
    asked: list[int] = []

    async def says(messages: list[ModelMessage], __: AgentInfo) -> AsyncIterator[str | DeltaToolCalls]:
        asked.append(len(messages))
        if len(messages) > 1:
            yield "done"
            return
        yield "Let me "
        await store.signal([Signal(task_id, SignalKind.PAUSE)])
        for _ in range(20):  # long enough for batches on which the worker is told of the pause
            await asyncio.sleep(0.02)
            yield "see "
        yield {1: DeltaToolCall("look", '{"place": "shop"}', tool_call_id="c1")}

    agent = Agent("buyer", None, streaming(says), [look], stream=True)
    task_id = await ask(store, agent)
    async with working(store, agent):
        await until(store, task_id, lambda task: task.paused and task.state is State.READY)
        assert asked == [1]
        await store.signal([Signal(task_id, SignalKind.RESUME)])
        task = await ended(store, task_id)
    assert task.state is State.DONE, task.error
    assert asked == [1, 3]


async def test_a_model_that_cannot_stream_is_asked_as_ever(store: Store) -> None:
    agent = Agent("echo", None, CommandModel(["cat"]), stream=True)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert await tokens(store, task.id) == []


async def test_telling_holds_nobody_up_and_goes_in_batches() -> None:
    # Given a store that does not answer
    sent: asyncio.Queue[tuple[Record, asyncio.Future[Recorded]]] = asyncio.Queue()

    def put(record: Record) -> asyncio.Future[Recorded]:
        answer: asyncio.Future[Recorded] = asyncio.get_running_loop().create_future()
        sent.put_nowait((record, answer))
        return answer

    journal: Any = SimpleNamespace(
        lease=SimpleNamespace(hold=Hold("a", 1, 1)), services=SimpleNamespace(recorder=SimpleNamespace(put=put))
    )
    told = Tokens(journal, 1)
    async with asyncio.timeout(60):
        # When much is said while a batch is on its way
        told.hear(PartStartEvent(index=0, part=TextPart("one ")))
        told.hear(said(0, "two "))
        first, answer = await sent.get()
        for number in range(1_000):
            told.hear(said(0, f"{number} "))
        answer.set_result(Recorded(Answer.ACCEPTED))
        second, _ = await sent.get()
        told.hear(said(0, "the end"))
        told.hear(PartEndEvent(index=0, part=TextPart("whatever came together")))
        told.end()
        last, _ = await sent.get()
    # Then it goes with the next one, and the end waits for nobody
    texts = [msgspec.json.decode(record.events[0][1]) for record in (first, second, last)]
    assert texts[0] == {"turn": 1, "part": 0, "text": "one two ", "at": 0}
    assert texts[1]["text"].startswith("0 1 2 ")
    assert texts[1]["text"].endswith(" 999 ")
    assert texts[2] == {"turn": 1, "part": 0, "text": "the end", "at": 8 + len(texts[1]["text"]), "end": True}
    assert sent.empty()


def said(part: int, text: str) -> PartDeltaEvent:
    return PartDeltaEvent(index=part, delta=TextPartDelta(text))


def test_a_turn_has_a_bounded_number_of_batches() -> None:
    assert pause_after(0) < 0.1
    assert sum(map(pause_after, range(256))) > 590


@pytest.mark.parametrize("answered", [False, True], ids=["request lost", "answer lost"])
async def test_an_agent_that_streams_goes_on_where_its_worker_was_cut_off(answered: bool) -> None:
    for after in itertools.count():
        # Given an agent of two turns whose worker is cut off at one of its requests to the store
        clock = Clock()
        store = MemoryStore(clock=clock)
        await store.open()
        model = ScriptedModel([Reply(text="Let me see.", tools=[ToolCall("look", {"place": "shop"})]), "It is open."])
        agent = Agent("buyer", None, model, [look], stream=True)
        task_id = await ask(store, agent)
        was_cut = await crashed(store, task_id, [agent], after, answered)
        # When another worker takes over
        clock.forward(60)
        async with working(store, agent):
            task = await ended(store, task_id)
        # Then no recorded response is asked for again, and what was told and is not void is the last message
        assert task.state is State.DONE, (after, task.error)
        assert model.count() <= 2 + was_cut, after
        told = put_together(await streamed(store, task_id))
        assert told[2, 0, 0] == ("tokens", "It is open.", True), after
        await store.close()
        if not was_cut:
            break
    assert after > 5, "the matrix covers every request of the task"
