"""A team of agents: a planner, researchers side by side, a writer, and a judge who may send the text back.

    python examples/research_team.py             # with OPENAI_API_KEY, or without: then a scripted provider answers
    python examples/research_team.py "lakes"     # another subject, for a real provider

Kill it with `kill -9` at any moment and start it again: it goes on where it was. The team's work is one task, known by
its idempotency key; each agent's part is a task below it. What was recorded is not paid for again.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from pydantic import BaseModel

from tenuto import Agent, AgentWorkerConfig, Context, Orchestrator, TaskSpec, task_agent
from tenuto.testing import Reply, Rule, ToolCall, stand_in

MODEL = "openai:gpt-5-mini"
SOON = AgentWorkerConfig(heartbeat_interval=1, missed_heartbeats_threshold=3, missed_heartbeats_grace_period=1)
"""Work of a killed worker is taken over after four seconds."""

LIBRARY = {"source": "It rises in the Alps.", "mouth": "It flows into the sea.", "length": "It is 1,233 km long."}


class Plan(BaseModel):
    """What is to be found out."""

    questions: list[str]


class Verdict(BaseModel):
    """What the judge thinks of a text."""

    accepted: bool
    advice: str = ""


def look_up(word: str) -> str:
    """What the library has about a word."""
    return LIBRARY.get(word, "Nothing.")


planner = Agent("planner", "You split a subject into at most four questions.", MODEL, output_type=Plan)
researcher = Agent("researcher", "You answer one question from the library.", MODEL, [look_up])
writer = Agent("writer", "You write a paragraph from what was found.", MODEL)
judge = Agent("judge", "You judge whether a paragraph holds all that was found.", MODEL, output_type=Verdict)


@task_agent
async def report(ctx: Context, subject: str) -> str:
    """The team's work: each step of it survives whatever dies."""

    async def ask(agent: Agent, query: str) -> Any:
        child = await ctx.spawn(agent.create_task(ctx.owner_id, query))
        (ended,) = await ctx.wait_for(child)
        if not ended.done:
            raise RuntimeError(f"{agent.name}: {ended.error.message if ended.error else ended.reason}")
        return ended.result

    plan = await ask(planner, subject)
    children = await ctx.spawn_batch([researcher.create_task(ctx.owner_id, each) for each in plan["questions"]])
    found = "\n".join(each.result for each in await ctx.wait_for(children) if each.done)
    text = await ask(writer, f"Found:\n{found}")
    for _ in range(2):
        verdict = await ask(judge, f"Found:\n{found}\n\nThe paragraph:\n{text}")
        if verdict["accepted"]:
            break
        text = await ask(writer, f"Found:\n{found}\n\nYour paragraph:\n{text}\n\nAdvice:\n{verdict['advice']}")
    return text


def work_on(subject: str) -> TaskSpec:
    """The task, the same however often the program is started."""
    return report.create_task("ann", subject, idempotency_key=f"report on {subject}", budget=0.50)


def looks_up(word: str) -> Rule:
    """How the scripted researcher answers the question about `word`."""
    return Rule(first=word, tool="look_up", turns=[Reply(tools=[ToolCall("look_up", {"word": word})]), LIBRARY[word]])


FIRST, SECOND = "It is long.", "It rises in the Alps, is 1,233 km long and flows into the sea."
SCRIPT = [
    Rule(system="You split", turns=[Reply(output={"questions": [f"its {word}?" for word in LIBRARY]})]),
    *(looks_up(word) for word in LIBRARY),
    Rule(system="You write", contains="Advice", turns=[SECOND]),
    Rule(system="You write", turns=[FIRST]),
    Rule(system="You judge", contains=SECOND, turns=[Reply(output={"accepted": True})]),
    Rule(system="You judge", turns=[Reply(output={"accepted": False, "advice": "Say where it flows."})]),
]


async def main() -> None:
    """Has a report written, and says what it cost."""
    subject = sys.argv[1] if len(sys.argv) > 1 else "the Rhine"
    with stand_in(SCRIPT):
        async with Orchestrator() as orchestrator:
            orchestrator.register_runner([report, planner, researcher, writer, judge], SOON)
            task_id = await orchestrator.enqueue_task(report, work_on(subject))
            print(await orchestrator.get_task_result(task_id, timeout=600))
            (used,) = await orchestrator.usage("tree", prefix=task_id)
            print(f"{used.calls} requests, {used.spent.tokens} tokens, ${used.spent.money / 1e9:.6f}")


if __name__ == "__main__":
    asyncio.run(main())
