"""Models that say what no program expects: odd names, ids and characters, and many calls at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tenuto.agents.llm.agent import Agent
from tenuto.client import Client
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply, ToolCall
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import ended, working
from tests.servers.raw_http import RawHttp, answer

HALF, OTHER_HALF = "\ud83d", "\ude00"
"""of a smiling face, as JSON carries them"""


def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"


def chat(content: str | None, *calls: tuple[str, str, str]) -> bytes:
    """A whole answer of OpenAI's Chat Completions."""
    asked = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in calls
    ]
    message = {"role": "assistant", "content": content} | ({"tool_calls": asked} if asked else {})
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    body = {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}
    return json.dumps(body).encode()


def events(*texts: str) -> bytes:
    """The same, streamed."""
    lines = []
    for text in texts:
        choices = [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}]
        lines.append({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices})
    return "".join(f"data: {json.dumps(line)}\n\n" for line in lines).encode() + b"data: [DONE]\n\n"


def clerk(url: str, **options: Any) -> Agent:
    agent = Agent("clerk", None, "openai-chat:gpt-5-mini", [look], base_url=url, max_retries=0, **options)
    return agent.with_keys({"openai": "sk-test"})


@pytest.mark.parametrize(("said", "kept"), [(HALF + OTHER_HALF, "😀"), (HALF, "�"), (f"a{OTHER_HALF}b", "a�b")])
async def test_halves_of_characters_are_joined_or_marked(store: Store, said: str, kept: str) -> None:
    # Given a provider that sends halves of characters, whole or streamed one by one
    for stream, body in (
        (False, answer(200, chat(said))),
        (True, answer(200, events(*said), content_type="text/event-stream")),
    ):
        with RawHttp(body) as server:
            agent = clerk(f"{server.url}/v1", stream=stream)
            # When an agent is told so
            async with working(store, agent):
                task = await ended(store, await ask(store, agent))
            # Then what was paid for is kept, in characters
            assert task.state is State.DONE, task.error
            assert bytes(task.result or b"") == stored(kept)
            assert len(server.requests) == 1


@pytest.mark.parametrize("field", ["id", "name", "arguments"])
async def test_halves_of_characters_in_a_call_do_no_harm(store: Store, field: str) -> None:
    # Given a model whose call has half a character in it
    parts = {"id": "call-1", "name": "look", "arguments": '{"place": "shop"}'}
    parts[field] = parts[field].replace("o", f"o{HALF}") + ("" if field == "arguments" else HALF)
    with Endpoint([Reply(body=chat(None, (parts["id"], parts["name"], parts["arguments"])).decode()), "done"]) as there:
        agent = clerk(there.openai_url)
        # When an agent is told so
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        # Then it goes on
        assert task.state is State.DONE, task.error
        assert there.count() == 2


IDS = ["ид-☃", "a/b#c@d", "x" * 10_000, "a\0b", "", "turn-1/model#0", "call-1@issued"]
NAMES = ["lo ok/☃#0", "a\0b", "x" * 10_000, "", "../look", "turn-2/"]


async def test_odd_ids_are_told_apart(store: Store) -> None:
    # Given a model that gives its calls the oddest ids, some of them twice
    calls = [ToolCall("look", {"place": f"p{number}"}, id=each) for number, each in enumerate([*IDS, *IDS])]
    with Endpoint([Reply(tools=calls), "done"]) as endpoint:
        agent = clerk(endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    # Then each has its own result
    assert task.state is State.DONE, task.error
    assert all(f"p{number} is open" in endpoint.calls[1].text for number in range(len(calls)))
    assert len(await Client(store).get_turns(task.id)) == 2


async def test_odd_names_are_no_tools(store: Store) -> None:
    calls = [ToolCall(name, {"place": "x"}, id=f"c{number}") for number, name in enumerate(NAMES)]
    with Endpoint([Reply(tools=calls), "done"]) as endpoint:
        agent = clerk(endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert endpoint.calls[1].text.count("Unknown tool name") == len(NAMES)
    assert [step.key for step in await store.journal(task.id)] == ["turn-1/model#0", "turn-2/model#0"]


async def test_five_hundred_calls_in_one_turn(store: Store) -> None:
    calls = [ToolCall("look", {"place": f"p{number}"}, id=f"c{number}") for number in range(500)]
    with Endpoint([Reply(tools=calls), "done"]) as endpoint:
        agent = clerk(endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        assert endpoint.count() == 2
    assert task.state is State.DONE, task.error
    assert len(await store.journal(task.id)) == 502
