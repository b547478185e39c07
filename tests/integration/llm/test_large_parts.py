"""Large parts of a conversation: stored once per tree, whoever repeats them, and whole for everybody who reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_ai import RunContext, TextOutput
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.context import AgentContext
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.replay import replay_task
from tenuto.client import Client
from tenuto.errors import Unstorable
from tenuto.stores.base import Store, TaskFilter
from tenuto.tasks.blobs import references
from tenuto.tasks.clock import Millis
from tenuto.tasks.outcome import Record, Recorded
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tests.integration.llm.rig import Scripted, ask, asking, call, prompts, returns, stored
from tests.integration.workers.rig import Clock, crashed, ended, working

TEXT = "word " * 40_000
ROWS = [{"row": number, "name": "x" * 80} for number in range(2_000)]
CAREFULLY = "Be careful." * 4_000
HASH = "0" * 40


async def bytes_of(store: Store, root: str) -> int:
    """What the payloads, journals and results of a tree take, with each large part once."""
    tasks = [task for task in (await store.tasks(TaskFilter(), limit=1_000)).tasks if task.root == root]
    values = [bytes(value) for task in tasks for value in (task.payload, task.result or b"null")]
    for task in tasks:
        values += [bytes(step.value) for step in await store.journal(task.id) if step.value is not None]
    parts = await store.blobs(root, list({key for value in values for key in references(value)}), 1 << 40)
    return sum(map(len, values)) + sum(map(len, parts.values()))


@pytest.mark.parametrize("result", [TEXT, ROWS], ids=["text", "rows"])
async def test_a_large_result_is_stored_once(engine: Store, result: Any) -> None:
    # Given a tool that gives 200 kB, twice the same
    heard: list[Any] = []

    def read() -> Any:
        """Reads."""
        return result

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard.append(returns(messages))
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse(parts=[call("read", f"c{turn}")] if turn < 2 else [TextPart("done")])

    agent = Agent("reader", "Read.", FunctionModel(answer), [read])
    # When its task is done
    async with working(engine, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then the model has had it whole, and the tree has it once
    assert task.state is State.DONE, task.error
    assert heard == [[], [result], [result, result]]
    large = len(stored(result))
    assert large > 150_000
    assert large < await bytes_of(engine, task.root) < large + 5_000
    # And whoever reads the conversation reads it whole
    turns = await Client(engine).get_turns(task.id)
    assert turns[1].messages[0]["parts"][0]["content"] == result
    assert not (await replay_task(engine, task.id, agent)).departs


async def test_instructions_and_a_document_are_stored_once_for_all_tasks_of_a_tree(engine: Store) -> None:
    # Given an agent with long instructions that has three others, with as long ones, read the same document
    heard: list[tuple[str, str]] = []

    def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        heard.append((prompts(messages)[0], info.instructions or ""))
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse(parts=[call("wait", f"c{turn}")] if turn < 3 else [TextPart("read")])

    def wait() -> str:
        """Waits."""
        return "waited"

    reader = Agent("reader", CAREFULLY, FunctionModel(answer), [wait])

    async def hand_out(ctx: RunContext[AgentContext]) -> int:
        """Has the document read."""
        children = [reader.create_task(payload=AgentContext(query=ctx.deps.query)) for _ in range(3)]
        return len(await current_context().wait_for(await current_context().spawn_batch(children)))

    head = Agent("head", None, Scripted([call("hand_out", "c1")], "done").model, [hand_out])
    # When all is done
    async with working(engine, head, reader):
        task = await ended(engine, await Client(engine).enqueue_task(head, asking(head, TEXT)))
    # Then each request had both whole
    assert task.state is State.DONE, task.error
    assert len(heard) == 12
    assert set(heard) == {(TEXT, CAREFULLY)}
    # And the tree has each once
    large = len(TEXT) + len(CAREFULLY)
    assert large < await bytes_of(engine, task.root) < large + 30_000


async def test_a_fork_has_them_once_too(engine: Store) -> None:
    # Given a task whose tool gave 200 kB
    ran: list[str] = []

    def read() -> str:
        """Reads."""
        ran.append("read")
        return TEXT

    script = Scripted([call("read", "c1")], [call("read", "c2")], "done", "more")
    agent = Agent("reader", None, script.model, [read])
    client = Client(engine)
    async with working(engine, agent):
        old = await ended(engine, await ask(engine, agent))
        # When it is forked after its first turn, and after its last
        first = await ended(engine, await client.fork_task(old.id, 1))
        last = await ended(engine, await client.fork_task(old.id, 3, message="go on"))
    # Then each tree has it once, and the conversation is whole
    assert [each.state for each in (old, first, last)] == [State.DONE] * 3, (first.error, last.error)
    assert ran == ["read", "read", "read"], "the second call of the first fork"
    for each in (old, first, last):
        assert len(TEXT) < await bytes_of(engine, each.root) < len(TEXT) + 10_000
    assert [len(returns_of(turn.messages)) for turn in await client.get_turns(last.id)] == [2]
    assert {content for turn in await client.get_turns(last.id) for content in returns_of(turn.messages)} == {TEXT}


def returns_of(messages: list[dict[str, Any]]) -> list[Any]:
    parts = [part for message in messages if message["kind"] == "request" for part in message["parts"]]
    return [part["content"] for part in parts if part["part_kind"] == "tool-return"]


class Counting:
    """A store that counts the bytes of the large parts that it is sent."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.sent = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        self.sent += sum(len(part) for each in records for part in each.blobs.values())
        return await self._store.record(records, lease)


async def test_what_is_large_is_sent_once_and_found_by_the_next_worker(engine: Store, clock: Clock) -> None:
    # Given an agent with a tool that gives 200 kB in each of three turns
    heard: list[list[str]] = []

    def read() -> str:
        """Reads."""
        return TEXT

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        heard.append(returns(messages))
        turn = sum(isinstance(message, ModelResponse) for message in messages)
        return ModelResponse(parts=[call("read", f"c{turn}")] if turn < 3 else [TextPart("done")])

    agent = Agent("reader", None, FunctionModel(answer), [read])
    # When its worker is cut off at one of its requests, and another one goes on
    was_cut, after = True, 0
    while was_cut:
        after += 1
        heard.clear()
        counting: Any = Counting(engine)
        task_id = await ask(engine, agent)
        was_cut = await crashed(counting, task_id, [agent], after, answered=True)
        clock.forward(60)
        async with working(counting, agent):
            task = await ended(engine, task_id)
        # Then each request had all that was read before, and no worker has sent it twice
        assert task.state is State.DONE, (after, task.error)
        assert heard[-1] == [TEXT] * 3
        assert counting.sent <= len(stored(TEXT)) * (1 + was_cut)
    assert after > 8, "the cuts cover every request of the task"


@pytest.mark.parametrize(
    "value",
    [
        {"$blob": HASH},
        {"$parts": [[HASH, "a"]], "value": {"a": None}},
        {"$parts": [[HASH]], "value": None},
        [{"$blob": HASH}, TEXT],
        {"$parts": [[HASH, "text"]], "value": TEXT},
    ],
    ids=["blob", "parts", "whole", "list", "large"],
)
async def test_what_looks_like_a_reference_comes_back_as_it_was(engine: Store, value: Any) -> None:
    # Given a tool, a payload and a result that look like references
    heard: list[Any] = []

    def read(ctx: RunContext[AgentContext]) -> Any:
        """Reads."""
        heard.append((ctx.deps.model_extra or {})["value"])
        return value

    def same(_: str) -> Any:
        return value

    def answer(messages: list[ModelMessage], _: AgentInfo) -> ModelResponse:
        if len(messages) == 1:
            return ModelResponse(parts=[call("read", "c1")])
        heard.append(returns(messages)[0])
        return ModelResponse(parts=[TextPart("read")])

    agent = Agent("reader", None, FunctionModel(answer), [read], output_type=TextOutput(same))
    client = Client(engine)
    async with working(engine, agent):
        payload = AgentContext(query="go", value=value)  # type: ignore[call-arg]  # a field of the caller's own
        task = await ended(engine, await client.enqueue_task(agent, agent.create_task(payload=payload)))
    # Then each came back as it was
    assert task.state is State.DONE, task.error
    assert heard == [value, value]
    assert await client.get_task_result(task.id) == value
    turns = await client.get_turns(task.id)
    assert returns_of(turns[1].messages) == [value]


class Forgetful:
    """A store that has lost what was stored apart."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def blobs(self, *_: Any) -> dict[str, bytes]:
        return {}


async def test_a_part_that_is_missing_is_named(engine: Store) -> None:
    # Given a task with a large result, which waits for its next attempt
    failed: list[str] = []

    def read() -> str:
        """Reads."""
        return TEXT

    def think() -> str:
        """Fails once."""
        if not failed:
            failed.append("think")
            raise OSError("not now")
        return "thought"

    script = Scripted([call("read", "c1")], [call("think", "c2")], "done")
    agent = Agent("reader", None, script.model, [read, think], retry=RetryPolicy(max_retries=1, base=1))
    # When its parts are not in the store any more
    lost: Any = Forgetful(engine)
    async with working(lost, agent):
        task = await ended(engine, await ask(engine, agent))
    # Then it fails with a sentence, and nobody is asked for what was recorded
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.message.startswith(f"a large value of task {task.id!r} is not in the store any more")
    assert script.asked == [1, 2]
    with pytest.raises(Unstorable, match="was its tree removed"):
        await Client(lost).get_turns(task.id)
