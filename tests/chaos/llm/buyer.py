"""The agent that is killed: ten turns with tools, a payment, children, steering, and a question to a person."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings

from tenuto.agents.function import task_agent
from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.current import current_context
from tenuto.agents.llm.tools import deferred, tool
from tenuto.client import Client
from tenuto.testing import Reply, ToolCall
from tenuto.workers.handler import Handler

__all__ = ["ANSWER", "LOG_LINES", "PRICE", "STEERING", "TURNS", "buyer", "script", "told_ahead"]

TURNS = 10
LOG_LINES = 2 * (TURNS - 4) + 2 + 2
"""of a run without a crash: looks, a payment and a question, children"""
PRICE = (1.0, 4.0)
STEERING = "and hurry"
ANSWER = "all done"
_LONGEST = 256


def _write(log: str, line: str) -> None:
    with Path(log).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def buyer(url: str, log: str, *, stream: bool = False) -> tuple[Agent, Handler]:
    """The agent, and the one that its children are for. Each writes a line to `log` when it does something."""

    @task_agent
    async def double(payload: int) -> int:
        _write(log, f"double {payload}")
        return payload * 2

    async def doubles(numbers: list[int]) -> list[int]:
        """Has other agents do the work."""
        context = current_context()
        children = await context.spawn_batch([double.create_task(payload=number) for number in numbers])
        return [each.result for each in await context.wait_for(children)]

    def find_payment(_: str) -> tuple[str, str] | str:
        return ("done", "paid 5") if "pay 5\n" in Path(log).read_text(encoding="utf-8") else "retry"

    @tool(effect="once", reconcile=find_payment)
    def pay(cents: int) -> str:
        """Pays, which may happen only once."""
        _write(log, f"pay {cents}")
        return f"paid {cents}"

    def look(place: str) -> str:
        """Looks something up."""
        _write(log, f"look {place}")
        return f"{place} is open"

    @deferred
    def ask_ann(question: str) -> None:
        """Asks a person."""
        _write(log, "ask_ann")

    agent = Agent(
        "buyer",
        "Buy things.",
        partial(_model_at, url),
        [look, pay, ask_ann, doubles],
        price=PRICE,
        stream=stream,
        model_settings=ModelSettings(max_tokens=_LONGEST),
    )
    return agent, double


def _model_at(url: str) -> OpenAIChatModel:
    return OpenAIChatModel("gpt-test", provider=OpenAIProvider(base_url=url, api_key="sk-test"))


def script(*, slow: bool = False) -> list[Reply | str]:
    """What its model says. slow: it takes its time in the first turn and over the payment, so that streams are told of
    while they last."""
    pause = 0.03 if slow else 0.0
    looks = [
        Reply(
            text=f"I look at two places. {turn}",
            tools=[ToolCall("look", {"place": f"{turn}a"}), ToolCall("look", {"place": f"{turn}b"})],
            chunk_delay=0.0 if turn else pause,
        )
        for turn in range(TURNS - 4)
    ]
    return [
        *looks,
        Reply(text="Now I pay.", tools=[ToolCall("pay", {"cents": 5}, id="call-pay")], chunk_delay=pause),
        Reply(tools=[ToolCall("doubles", {"numbers": [1, 2]}, id="call-doubles")]),
        Reply(tools=[ToolCall("ask_ann", {"question": "enough?"}, id="call-ann")]),
        ANSWER,
    ]


async def told_ahead(client: Client, task_id: str) -> None:
    """What people say before it begins."""
    await client.steer_task(task_id, STEERING)
    await client.complete_deferred_tool(task_id, "call-ann", "yes")
