"""`tenuto task calls|approve|reject|answer|steer`: people and an agent that waits for them, from a shell."""

import json

import pytest

from tests.integration.cli.program import Program

AGENT = '''
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ToolCallPart
from pydantic_ai.models.function import FunctionModel
import tenuto

def model(messages, info):
    if not any(isinstance(message, ModelResponse) for message in messages):
        return ModelResponse(parts=[
            ToolCallPart("delete", {"path": "old.log"}, "c1"),
            ToolCallPart("ask", {"question": "may I?"}, "c2"),
        ])
    heard = [str(part.content) for part in messages[-1].parts]
    return ModelResponse(parts=[TextPart(" | ".join(heard))])

@tenuto.tool(requires_approval=True, expires=3600)
def delete(path: str) -> str:
    """Deletes a file."""
    return f"{path} is gone"

@tenuto.deferred
def ask(question: str) -> None:
    """Asks a person."""

cleaner = tenuto.Agent("cleaner", "Clean up.", FunctionModel(model), [delete, ask])
'''


@pytest.fixture
def waiting(tenuto: Program) -> str:
    """A task that waits for an approval and an answer; its id."""
    (tenuto.home / "cleaners.py").write_text(AGENT, encoding="utf-8")
    task_id = tenuto.submit("cleaner", "clean up")
    tenuto.start("worker", "--agents", "cleaners:cleaner")
    tenuto.wait_for(lambda: len(tenuto("task", "calls", task_id, "--format", "json").json) == 2, "both calls")
    return task_id


def test_what_is_asked_for_is_listed_decided_and_heard(tenuto: Program, waiting: str) -> None:
    # Given a task that waits for people
    table = tenuto("task", "calls", waiting[-8:]).out.splitlines()
    assert table[0].split() == ["CALL", "ASKS", "FOR", "TOOL", "ARGUMENTS", "UNTIL"]
    assert any('{"path":"old.log"}' in line for line in table)
    # And the same is found without the task's id, and said by why, with what there is to do
    asked = tenuto("task", "calls", "--agent", "cleaner", "--format", "json").json
    assert sorted((each["task_id"], each["tool_call_id"], each["agent"]) for each in asked) == [
        (waiting, "c1", "cleaner"),
        (waiting, "c2", "cleaner"),
    ]
    assert tenuto("task", "calls").out.splitlines()[0].split()[:2] == ["TASK", "AGENT"]
    assert tenuto("task", "calls", "--owner", "nobody").out == "No task waits for an answer.\n"
    why = tenuto("task", "why", waiting).out
    assert 'delete with {"path":"old.log"} waits for an approval, until 20' in why
    assert f"tenuto task approve {waiting} c1, or tenuto task reject {waiting} c1." in why
    assert f"tenuto task answer {waiting} c2 --value JSON." in why
    # When they decide, from a shell
    wrong = tenuto("task", "approve", waiting, "c1", "--arguments", '{"path": "new.log"}', code=2).err
    assert "issued with other arguments" in wrong
    assert (
        "approved"
        in tenuto(
            "task", "approve", waiting, "c1", "--arguments", '{"path": "old.log"}', "--by", "ann", "--note", "it is old"
        ).out
    )
    assert "the first answer counts" in tenuto("task", "reject", waiting, "c1", code=2).err
    assert "steered" in tenuto("task", "steer", waiting, "be brief").out
    assert "answered" in tenuto("task", "answer", waiting, "c2", "--value", '"yes"').out
    # Then the agent goes on with all of it
    result = tenuto("task", "wait", waiting, "--format", "json").json["result"]
    assert result == "old.log is gone | yes | be brief"
    # And who has said what stays visible
    messages = tenuto("task", "messages", waiting).out
    assert "people: delete (c1) was approved by ann: it is old" in messages
    assert "people: ask (c2) was answered" in messages
    first = tenuto("task", "messages", waiting, "--format", "json").json["turns"][0]
    said = {"approved": True, "by": "ann", "note": "it is old"}
    assert first["answered"][0] == {"tool_call_id": "c1", "tool": "delete", "kind": "approval", **said}
    told = tenuto("task", "events", waiting, "--format", "json").out
    assert "call_answered" in told
    assert "it is old" in told
    assert tenuto("task", "calls").out == "No task waits for an answer.\n"
    assert tenuto("task", "calls", waiting).out == "It waits for nobody's answer.\n"


def test_calls_that_nobody_issued_are_refused(tenuto: Program, waiting: str) -> None:
    unknown = tenuto("task", "answer", waiting, "c9", "--value", "1", code=3).err
    assert "has not issued a call 'c9'" in unknown
    assert "asks for an approval" in tenuto("task", "answer", waiting, "c1", "--value", "1", code=2).err
    assert "asks for an answer" in tenuto("task", "approve", waiting, "c2", code=2).err
    assert json.loads(tenuto("task", "calls", waiting, "--format", "json").out)[0]["tool_call_id"] in ("c1", "c2")
