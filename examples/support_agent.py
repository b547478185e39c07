"""A support agent that asks a colleague when it does not know, and waits for the answer for as long as it takes.

    python examples/support_agent.py             # all three parts in one go
    python examples/support_agent.py ask         # a customer asks; the program ends while the agent waits
    python examples/support_agent.py answer      # weeks later, on any machine: the colleague answers
    python examples/support_agent.py finish      # a worker goes on with it

Between the parts nothing runs at all: the conversation and the question are in the store. Without OPENAI_API_KEY a
scripted provider answers. `tenuto task calls support-1` and `tenuto task answer` do what the second part does.
"""

from __future__ import annotations

import asyncio
import sys

from tenuto import Agent, Client, Orchestrator, deferred
from tenuto.stores.environment import default_store
from tenuto.testing import Reply, ToolCall, stand_in

TASK = "support-1"


@deferred(timeout=60 * 86_400)
def ask_colleague(question: str) -> None:
    """Asks a colleague who knows; the answer may take weeks."""
    print(f"for the colleague: {question}", flush=True)  # where a ticket would be opened


support = Agent(
    "support",
    "You help customers of a shop for metronomes. What you do not know, you ask a colleague.",
    "openai:gpt-5-mini",
    [ask_colleague],
)

SCRIPT = [
    Reply(tools=[ToolCall("ask_colleague", {"question": "Does the M-40 run on 12 volts?"})]),
    "Yes: the M-40 runs on 12 volts, with the adapter from the box.",
]


async def ask() -> None:
    """The agent begins, and waits in the store for its colleague."""
    async with Orchestrator() as orchestrator:
        orchestrator.register_runner(support)
        task = support.create_task("customer-7", "Can I run my M-40 on 12 volts?", id=TASK)
        await orchestrator.enqueue_task(support, task)
        async for event in orchestrator.subscribe_to_updates(task_ids=TASK, event_types=["waiting"]):
            print(f"{event.task_id} waits, and no process is needed")
            break


async def answer() -> None:
    """The colleague answers what is open. This needs no worker and no agent."""
    async with Client(default_store()) as client:
        for call in await client.open_calls(TASK):
            await client.complete_deferred_tool(TASK, call.id, "Yes, with the adapter from the box.")
            print(f"answered: {call.arguments['question']}")


async def finish() -> None:
    """A worker goes on where the agent stood."""
    async with Orchestrator() as orchestrator:
        orchestrator.register_runner(support)
        print(await orchestrator.get_task_result(TASK, timeout=600))


async def main() -> None:
    """The parts that were asked for, one after the other."""
    parts = {"ask": ask, "answer": answer, "finish": finish}
    chosen = sys.argv[1:] or list(parts)
    with stand_in(SCRIPT):
        for name in chosen:
            await parts[name]()


if __name__ == "__main__":
    asyncio.run(main())
