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

TALKER = """
import asyncio, pathlib
from pydantic_ai.exceptions import ModelAPIError
from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel
import tenuto

async def says(messages, info):
    if not pathlib.Path("broken").exists():
        pathlib.Path("broken").touch()
        yield "Once"
        raise ModelAPIError("writer", "the line is dead")
    if len(messages) == 1:
        yield {0: DeltaThinkingPart(content="Hm.")}
        yield "Let me look. "
        yield {2: DeltaToolCall("look", '{"place": ', tool_call_id="c1")}
        yield {2: DeltaToolCall(json_args='"\x1b[1mshop"}', tool_call_id="c1")}
        return
    yield "Once upon "
    while not pathlib.Path("heard").exists():
        await asyncio.sleep(0.02)
    yield "a time."

def look(place: str) -> str:
    return f"{place} is open"

writer = tenuto.Agent("writer", None, FunctionModel(stream_function=says), [look], stream=True)
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


def test_what_is_stored_apart_is_shown_whole(tenuto: Program) -> None:
    # Given a task whose tool gave so much that it is stored apart
    (tenuto.home / "buyers.py").write_text(AGENT.replace("is open", "is open " * 5_000), encoding="utf-8")
    task_id = tenuto.submit("buyer", "is it open?")
    tenuto.start("worker", "--agents", "buyers:buyer")
    tenuto("task", "wait", task_id)
    # Then it is shown whole, and replayed
    whole = "shop " + "is open " * 5_000
    assert f"tool look: {whole}".rstrip() in tenuto("task", "messages", task_id).out
    turns = tenuto("task", "replay", task_id, "--agents", "buyers:buyer", "--format", "json").json["turns"]
    assert turns[1]["said"][0] == {"role": "tool", "text": whole, "tool": "look"}
    assert [turn["departures"] for turn in turns] == [[], []]


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


def test_a_conversation_is_watched_while_it_is_held(tenuto: Program) -> None:
    # Given a model that breaks off once, and goes on only when somebody has seen its first words
    (tenuto.home / "writers.py").write_text(TALKER, encoding="utf-8")
    task_id = tenuto.submit("writer", "tell me a story")
    tenuto.start("worker", "--agents", "writers:writer")
    # When somebody watches
    watching = tenuto.start("task", "watch", task_id[-8:])
    assert watching.stdout is not None
    seen = ""
    while not seen.endswith("Once upon "):
        character = watching.stdout.read(1)
        assert character, seen
        seen += character
    (tenuto.home / "heard").touch()
    seen += watching.stdout.read()
    # Then it is shown as it came, and how it ended
    assert watching.wait() == 0
    lines = seen.splitlines()
    assert lines[:2] == ["turn 1", "Once"]
    assert lines[2].startswith("attempt 1 failed: ModelError: ")
    assert lines[3] == "what was said is void, and asked for again by attempt 2"
    assert lines[4:7] == ["Hm.", "Let me look. ", 'look {"place": "\\x1b[1mshop"}']
    assert lines[7].startswith("function:")
    assert lines[8:10] == ["turn 2", "Once upon a time."]
    assert lines[-1] == "done"
    # And the same is there for programs
    events = [json.loads(line) for line in tenuto("task", "watch", task_id, "--format", "json").out.splitlines()]
    assert [event["data"]["name"] for event in events if event["kind"] == "emitted"].count("turn") == 2


def test_what_is_not_streamed_is_watched_turn_by_turn(tenuto: Program, done: str) -> None:
    shown = tenuto("task", "watch", done).out
    assert shown.replace("done\n", "") == tenuto("task", "messages", done).out
    assert "there is no task" in tenuto("task", "watch", "nobody", code=3).err


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
    # And at the end what the model would be asked otherwise
    assert shown.splitlines()[-3:] == [
        "What the model would be asked now is not what is on record:",
        "  turns 1, 2: tool 'look' was on offer, and is not now",
        "  turns 1, 2: tool 'find' is on offer now, and was not",
    ]
    assert [len(turn["request"]) for turn in turns] == [2, 2]


def test_without_its_agent_a_replay_shows_the_conversation(tenuto: Program, done: str) -> None:
    assert tenuto("task", "replay", done).out == tenuto("task", "messages", done).out
    assert "which is not there" in tenuto("task", "replay", done, "--agents", "my_agents:double", code=2).err
