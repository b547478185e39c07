"""Results too large for the conversation: whole in the journal, in parts for the model."""

from __future__ import annotations

import re

import pytest

from tenuto.agents.llm.agent import Agent
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.testing import Reply, Request, ScriptedModel, ToolCall
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import ended, working

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
    with pytest.raises(InvalidInput, match="tool_result_limit"):
        Agent("clerk", tool_result_limit=10)
