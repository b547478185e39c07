"""Results too large for the conversation: whole in the journal, in parts for the model."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai import ToolReturn
from pydantic_ai.capabilities import SetToolMetadata
from pydantic_ai.mcp import MCPToolset

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.tool_results import ToolResultLimit
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.testing import Reply, Request, ScriptedModel, ToolCall
from tests.integration.llm.rig import ask, stored
from tests.integration.llm.test_mcp import SERVER
from tests.integration.workers.rig import ended, until, waits, working

LINES = "".join(f"line {number}\n" for number in range(1_000))
ROWS = [{"row": number} for number in range(300)]


def fetch() -> str:
    """A long text."""
    return LINES


def rows() -> list[dict[str, int]]:
    """Many rows."""
    return ROWS


def reading(tool: str, heard: list[str]) -> ScriptedModel:
    """A model that has `tool` called, and reads on until the end of what it gave."""

    def answer(request: Request) -> Reply:
        if request.turn == 1:
            return Reply(tools=[ToolCall(tool)])
        heard.append(request.results[-1].text)
        cut = re.search(r"result='(.*?)', offset=(\d+)", request.results[-1].text)
        on = re.search(r"go on at offset=(\d+)", request.results[-1].text)
        name = next(re.finditer(r"result='(.*?)'", request.text), None)
        if name is None or not (cut or on):
            return Reply(text="read")
        offset = int(cut[2] if cut else on[1] if on else 0)
        return Reply(tools=[ToolCall("read_result", {"result": name[1], "offset": offset})])

    return ScriptedModel(answer)


@pytest.mark.parametrize(("tool", "whole"), [(fetch, LINES), (rows, stored(ROWS).decode())], ids=["text", "rows"])
async def test_a_large_result_is_cut_and_can_be_read_to_its_end(store: Store, tool: object, whole: str) -> None:
    # Given an agent with a limit, and a tool that gives more
    heard: list[str] = []
    agent = Agent("clerk", "Serve.", reading(tool.__name__, heard), [tool], tool_result_limit=1_500)  # type: ignore[attr-defined]  # a function
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then the model has had its beginning and its end at once, and the rest in parts
    assert task.state is State.DONE, task.error
    first, *parts = heard
    assert "characters are left out here" in first
    assert first.endswith(whole[-400:])
    assert all(len(each) < 1_700 for each in heard)
    read = first.split("\n[")[0] + "".join(re.sub(r"\n\[[\d,]+ characters follow.*", "", part) for part in parts)
    assert read == whole
    # And the journal has it whole
    step = next(step for step in await store.journal(task.id) if step.key.endswith(f"/{tool.__name__}"))  # type: ignore[attr-defined]  # a function
    assert step.value is not None


def whole_of(heard: list[str]) -> str:
    """What a model has read in all, by the parts of it."""
    first, *parts = heard
    return first.split("\n[")[0] + "".join(re.sub(r"\n\[[\d,]+ characters follow.*", "", part) for part in parts)


async def test_an_answer_is_cut_and_can_be_read_to_its_end(store: Store) -> None:
    # Given a call that somebody answers with more than the limit
    @deferred
    def ask_ann(question: str = "") -> None:
        """Asks a person."""

    heard: list[str] = []
    agent = Agent("clerk", "Serve.", reading("ask_ann", heard), [ask_ann], tool_result_limit=2_500)
    async with working(store, agent):
        task_id = await ask(store, agent)
        await until(store, task_id, waits)
        (call,) = await Client(store).open_calls(task_id)
        # When the answer comes
        await Client(store).complete_deferred_tool(task_id, call.id, LINES)
        task = await ended(store, task_id)
    # Then the model has had a part of it, and the rest when it read on
    assert task.state is State.DONE, task.error
    assert "characters are left out here" in heard[0]
    assert all(len(each) < 2_700 for each in heard)
    assert whole_of(heard) == LINES


async def test_a_tool_may_have_a_limit_of_its_own(store: Store) -> None:
    # Given tools with limits of their own, and one that has the agent's, if there is one
    @tool(result_limit=1_000)
    def short() -> str:
        """Cut early."""
        return LINES

    @tool(result_limit=1_000_000)
    def long() -> str:
        """Not cut."""
        return LINES

    turn = Reply(tools=[ToolCall("short", {}, "c1"), ToolCall("long", {}, "c2"), ToolCall("fetch", {}, "c3")])
    for limit, expected in ((None, len(LINES)), (3_000, 3_100)):
        model = ScriptedModel([turn, "done"])
        agent = Agent("clerk", "Serve.", model, [short, long, fetch], tool_result_limit=limit)
        # When they are called
        async with working(store, agent):
            task_id = await ask(store, agent)
            task = await ended(store, task_id)
        # Then each result is cut to its own limit
        assert task.state is State.DONE, task.error
        given = [part["content"] for part in (await Client(store).get_turns(task_id))[1].messages[0]["parts"]]
        assert [len(each) > 1_000 for each in given] == [True] * 3
        assert len(given[0]) < 1_200
        assert given[1] == LINES
        assert abs(len(given[2]) - expected) < 60


async def test_what_goes_along_with_a_result_stays(store: Store) -> None:
    # Given a tool that has more to say than it returns
    def both() -> ToolReturn[str]:
        """A long text, and a remark."""
        return ToolReturn(LINES, content="Mind the end.")

    heard: list[str] = []
    agent = Agent("clerk", "Serve.", reading("both", heard), [both], tool_result_limit=4_000)
    async with working(store, agent):
        task_id = await ask(store, agent)
        task = await ended(store, task_id)
    # Then what it returns is cut, and can be read to its end
    assert task.state is State.DONE, task.error
    assert whole_of(heard) == LINES
    first, remark = (await Client(store).get_turns(task_id))[1].messages[0]["parts"]
    assert len(first["content"]) < 4_200
    assert remark["content"] == "Mind the end."


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
@pytest.mark.parametrize("by_tool", [False, True], ids=["of the agent", "of the tool"])
async def test_what_a_server_gives_is_cut_too(store: Store, tmp_path: Path, by_tool: bool) -> None:
    # Given a tool of a server that gives more than the limit
    (log := tmp_path / "mcp.log").touch()
    shop = MCPToolset(StdioTransport(sys.executable, [str(SERVER), str(log)], keep_alive=False), id="shop")
    model = ScriptedModel([Reply(tools=[ToolCall("look", {"place": LINES})]), "done"])
    limits: list[Any] = [ToolResultLimit(), SetToolMetadata(tools=["look"], tenuto={"result_limit": 2_000})]
    agent = (
        Agent("clerk", "Serve.", model, toolsets=[shop], capabilities=limits)
        if by_tool
        else Agent("clerk", "Serve.", model, toolsets=[shop], tool_result_limit=2_000)
    )
    # When it is called
    async with working(store, agent):
        task_id = await ask(store, agent)
        task = await ended(store, task_id)
    # Then the model is given a part, and the journal has it whole
    assert task.state is State.DONE, task.error
    (part,) = (await Client(store).get_turns(task_id))[1].messages[0]["parts"]
    assert "characters are left out here" in part["content"]
    assert len(part["content"]) < 2_200
    assert part["content"].endswith("is open")


async def test_a_small_result_is_left_as_it_is(store: Store) -> None:
    heard: list[str] = []
    agent = Agent("clerk", "Serve.", reading("fetch", heard), [fetch], tool_result_limit=1_000_000)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE
    assert heard == [LINES]


async def test_a_name_that_is_none_is_told_to_the_model(store: Store) -> None:
    # Given a model that asks for what is not a result of a tool
    calls = Reply(tools=[ToolCall("read_result", {"result": "turn-1/model#0"})])
    model = ScriptedModel([calls, "sorry"])
    agent = Agent("clerk", "Serve.", model, tool_result_limit=1_000)
    # When it works, then it learns that there is none
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.DONE, task.error
    assert "there is no result 'turn-1/model#0'" in model.calls[-1].text


def test_a_limit_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InvalidInput, match="tool 'fetch': result_limit must be a whole number from 1,000, not 10"):
        tool(result_limit=10)(fetch)
    with pytest.raises(InvalidInput, match="tool_result_limit"):
        Agent("clerk", tool_result_limit=10)
