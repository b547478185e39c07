"""`tenuto task messages|fork|replay`: what an agent has said, another try from a turn of it, and what its present code
makes of it, from a shell."""

import json

import pytest

from tests.integration.cli.program import Program

AGENT = '''
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
import tenuto

def model(messages, info):
    with open("asked", "a") as file:
        file.write("x")
    if len(messages) == 1:
        return ModelResponse(parts=[ToolCallPart("look", {"place": "shop"}, "c1")])
    heard = [str(part.content) for part in messages[-1].parts]
    return ModelResponse(parts=[TextPart(" | ".join(heard))])

def look(place: str) -> str:
    """Looks something up."""
    return f"{place} is open"

buyer = tenuto.Agent("buyer", "Buy.", FunctionModel(model), [look], price=(1.0, 2.0))
'''

WRITER = """
import asyncio, pathlib
from pydantic_ai.models.function import FunctionModel
import tenuto

async def says(messages, info):
    yield "Once upon "
    while not pathlib.Path("heard").exists():
        await asyncio.sleep(0.02)
    yield "a time."

writer = tenuto.Agent("writer", None, FunctionModel(stream_function=says), stream=True)
"""


@pytest.fixture
def done(tenuto: Program) -> str:
    """A task that has ended after two turns; its id."""
    (tenuto.home / "buyers.py").write_text(AGENT, encoding="utf-8")
    task_id = tenuto.submit("buyer", "is it open?")
    tenuto.start("worker", "--agents", "buyers:buyer")
    tenuto("task", "wait", task_id)
    return task_id


def test_a_conversation_is_shown_turn_by_turn(tenuto: Program, done: str) -> None:
    shown = tenuto("task", "messages", done[-8:]).out
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[0].startswith("turn 1  ")
    assert "user: is it open?" in lines
    assert 'assistant calls look: {"place":"shop"}' in lines
    assert "tool look: shop is open" in lines
    assert "assistant: shop is open" in lines
    turns = tenuto("task", "messages", done, "--format", "json").json["turns"]
    assert [turn["turn"] for turn in turns] == [1, 2]
    assert all(float(turn["cost"]) > 0 and turn["usage"]["input_tokens"] > 0 for turn in turns)
    assert turns[1]["said"] == [
        {"role": "tool", "text": "shop is open", "tool": "look"},
        {"role": "assistant", "text": "shop is open"},
    ]


def test_who_follows_from_another_process_hears_what_a_model_says_while_it_says_it(tenuto: Program) -> None:
    # Given a model that goes on only when somebody has heard its first words
    (tenuto.home / "writers.py").write_text(WRITER, encoding="utf-8")
    task_id = tenuto.submit("writer", "tell me a story")
    tenuto.start("worker", "--agents", "writers:writer")
    # When somebody follows
    following = tenuto.start("task", "events", task_id, "--follow", "--kind", "tokens", "--format", "json")
    assert following.stdout is not None
    heard = [json.loads(following.stdout.readline())]
    (tenuto.home / "heard").touch()
    heard += [json.loads(line) for line in following.stdout]
    # Then all of it arrives, before and behind
    assert "".join(event["data"]["data"]["text"] for event in heard) == "Once upon a time."
    stored = tenuto("task", "events", task_id, "--kind", "tokens", "--format", "json").json["events"]
    assert stored == heard
    assert "is no type of event" in tenuto("task", "events", task_id, "--kind", "token", code=2).err


def test_a_task_is_forked_from_a_turn_with_another_message(tenuto: Program, done: str) -> None:
    # Given how often the model was asked
    asked = tenuto.home / "asked"
    assert asked.read_text() == "xx"
    # When the task goes on from its first turn
    new = tenuto("task", "fork", done, "--turn", "1", "--message", "and the bank?").out.strip()
    result = tenuto("task", "wait", new, "--format", "json").json["result"]
    # Then only what comes behind it was asked
    assert "and the bank?" in result
    assert asked.read_text() == "xxx"
    document = tenuto("task", "fork", done, "--turn", "1", "--id", "mine", "--format", "json").json
    assert document == {"id": "mine", "forked_from": {"task": done, "turn": 1}}


def test_what_cannot_be_forked_is_said(tenuto: Program, done: str) -> None:
    assert "has 2 recorded turns, so none numbered 7" in tenuto("task", "fork", done, "--turn", "7", code=3).err
    assert "must be a mapping" in tenuto("task", "fork", done, "--turn", "1", "--payload", "[1]", code=2).err
    assert "there is no task" in tenuto("task", "fork", "nobody", "--turn", "1", code=3).err
    double = tenuto.submit("double", 2)
    assert "has no recorded turns" in tenuto("task", "fork", double, "--turn", "1", code=2).err
    assert "Nothing was said yet." in tenuto("task", "messages", double).out


def test_a_task_is_replayed_by_the_code_of_today(tenuto: Program, done: str) -> None:
    # Given the code that ran the task
    same = tenuto("task", "replay", done[-8:], "--agents", "buyers:buyer").out
    assert "tool look: shop is open" in same
    assert "The present code does what is on record." in same
    # When its tool has another name
    changed = AGENT.replace("def look", "def find").replace("[look]", "[find]")
    (tenuto.home / "today.py").write_text(changed, encoding="utf-8")
    shown = tenuto("task", "replay", done, "--agents", "today", code=1).out
    turns = tenuto("task", "replay", done, "--agents", "today:buyer", "--format", "json", code=1).json["turns"]
    # Then that is told at the turn where it matters, and no model was asked
    assert "departs: what the model is told of call 'c1' of tool 'look' was shop is open and is Unknown tool" in shown
    assert [len(turn["departures"]) for turn in turns] == [1, 0]
    assert (tenuto.home / "asked").read_text() == "xx"


def test_without_its_agent_a_replay_shows_the_conversation(tenuto: Program, done: str) -> None:
    assert tenuto("task", "replay", done).out == tenuto("task", "messages", done).out
    assert "which is not there" in tenuto("task", "replay", done, "--agents", "my_agents:double", code=2).err
