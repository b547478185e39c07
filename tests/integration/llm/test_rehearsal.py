"""What SDKs leave to their first request is done before workers are forked."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tenuto import Agent
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.rehearsal import rehearsal_of
from tenuto.testing import Endpoint, Reply, ToolCall

PROGRAM = """
import sys, threading, time
from pathlib import Path

import pydantic, pydantic_ai
from tenuto.agents.llm import rehearsal
from tenuto.agents.llm.models import build_model

_, kind, model, url = sys.argv
getattr(rehearsal, kind)()
kernel = Path("/proc/self/task")
end = time.monotonic() + 20
while (threads := list(kernel.iterdir()) if kernel.exists() else threading.enumerate())[1:] and time.monotonic() < end:
    time.sleep(0.01)
made = []
begin = pydantic.TypeAdapter.__init__


def counted(self, type, *rest, **more):
    made.append(type)
    begin(self, type, *rest, **more)


pydantic.TypeAdapter.__init__ = counted


async def rows(table: str) -> int:
    return 42


agent = pydantic_ai.Agent(build_model(model, base_url=url, keys={"openai": "sk-test", "anthropic": "sk-test"}))
agent.tool_plain(rows)
made.clear()
print(agent.run_sync("hello", model_settings={"max_tokens": 8192}).output, len(threads), made)
"""


@pytest.mark.parametrize(
    ("kind", "model"),
    [
        ("openai_responses", "openai:gpt-5-mini"),
        ("openai_chat", "openai-chat:gpt-5-mini"),
        ("anthropic", "anthropic:claude-haiku-4-5"),
    ],
)
def test_after_a_rehearsal_the_first_request_makes_no_schema_and_no_thread_is_left(kind: str, model: str) -> None:
    # Given a process that has rehearsed
    with Endpoint([Reply(tools=[ToolCall("rows", {"table": "a"})]), "done"]) as endpoint:
        url = endpoint.anthropic_url if kind == "anthropic" else endpoint.openai_url
        # When it has its first conversation
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM, kind, model, url], capture_output=True, text=True, timeout=60, check=False
        )
    # Then nothing was left to make but what is the tool's own, and it could be forked
    assert ran.stdout == "done 1 []\n", ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("model", "rehearsed"),
    [
        ("openai:gpt-5", "openai_responses"),
        ("openai-chat:llama3.2", "openai_chat"),
        ("anthropic:claude-haiku-4-5", "anthropic"),
        ("cli:claude", None),
        ("nobody", None),
    ],
)
def test_an_agent_names_the_rehearsal_of_its_model(model: str, rehearsed: str | None) -> None:
    names = Agent("a", "Be brief.", model).preload[1:]
    assert names == (() if rehearsed is None else (f"tenuto.agents.llm.rehearsal:{rehearsed}",))


def test_a_model_that_was_built_already_is_known_by_its_class() -> None:
    for name in ("openai:gpt-5", "openai-chat:gpt-5", "anthropic:claude-haiku-4-5"):
        built = build_model(name, keys={"openai": "sk-test", "anthropic": "sk-test"})
        assert rehearsal_of(built) == rehearsal_of(name) != ()
