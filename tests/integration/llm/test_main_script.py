"""Agents that live in the program itself, `python program.py`, and work in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tenuto.testing import EndpointProcess, Reply, Rule, ToolCall

LIMIT = 100.0
"""Seconds that a program may take."""

ANNOTATED = """
    from __future__ import annotations

    import asyncio
    from dataclasses import dataclass
    from typing import Annotated, Literal

    from pydantic import BaseModel, Field
    from pydantic_ai import RunContext

    from tenuto import Agent, AgentContext, AgentWorkerConfig, Context, Orchestrator, task_agent
    from tenuto.agents.llm.tools import tool
    from tenuto.testing import Reply, ScriptedModel, ToolCall

    Colour = Literal["red", "blue"]
    Number = int | float
    COUNT = "how many there are"
    Count = Annotated[Number, Field(description=COUNT)]

    class Person(BaseModel):
        name: str
        age: Number = 3

    @dataclass
    class Box:
        size: int
        colour: Colour

    class Order(AgentContext):
        customer: int = 0

    def look(colour: Colour, person: Person, count: Annotated[Number, Field(description=COUNT)] = 1) -> Box:
        \"\"\"Looks.\"\"\"
        return Box(2, colour)

    @tool(effect="once")
    def pay(ctx: RunContext[Order], boxes: list[Box], count: Count) -> Person:
        \"\"\"Pays.\"\"\"
        return Person(name=f"{ctx.deps.customer}")

    def finish(ctx: RunContext[Order], person: Person, colour: Colour, count: Count) -> Box:
        \"\"\"Finishes.\"\"\"
        return Box(ctx.deps.customer + int(count), colour)

    def model() -> ScriptedModel:
        ann = {"name": "ann"}
        box = {"size": 1, "colour": "blue"}
        return ScriptedModel([
            Reply(tools=[
                ToolCall("look", {"colour": "red", "person": ann}), ToolCall("pay", {"boxes": [box], "count": 2})
            ]),
            Reply(output={"person": ann, "colour": "red", "count": 3}),
        ])

    agent = Agent("buyer", "Buy.", model, [look, pay], output_type=finish, context_type=Order, max_retries=0)

    @task_agent(max_retries=0)
    async def measure(ctx: Context, box: Box) -> Number:
        async def again(number: Number) -> Box:
            return Box(int(number) * box.size, box.colour)

        return (await ctx.step("again", again, 3)).size

    async def main() -> None:
        async with Orchestrator(store="sqlite:///tasks.db", executor="process") as orchestrator:
            orchestrator.register_runner([agent, measure], AgentWorkerConfig(workers=2))
            bought = agent.create_task(payload=Order(query="go", customer=17))
            measured = measure.create_task(payload=Box(2, "red"))
            wrong = measure.create_task(payload={"colour": "red"})
            for each, task in ((agent, bought), (measure, measured), (measure, wrong)):
                await orchestrator.enqueue_task(each, task)
            print(await orchestrator.get_task_result(bought.id, timeout=60))
            print(await orchestrator.get_task_result(measured.id, timeout=60))
            try:
                print(await orchestrator.get_task_result(wrong.id, timeout=60))
            except Exception as error:
                print(error)

    if __name__ == "__main__":
        asyncio.run(main())
"""


def ran(folder: Path, text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What came of the program `text`."""
    (folder / "program.py").write_text(textwrap.dedent(text), encoding="utf-8")
    return subprocess.run(
        [sys.executable, *(arguments or ("program.py",))],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def lines(program: subprocess.CompletedProcess[str]) -> list[str]:
    assert program.returncode == 0, program.stderr
    return program.stdout.splitlines()


def test_annotations_that_are_text_are_known_in_every_process(tmp_path: Path) -> None:
    # Given tools, an output function, steps and payloads whose annotations are text, all of them in the program
    # When it runs
    bought, measured, wrong = lines(ran(tmp_path, ANNOTATED))
    # Then each value has been read as it was annotated
    assert bought == "{'size': 20, 'colour': 'red'}"
    assert measured == "6"
    assert "does not fit agent 'measure': Object missing required field `size`" in wrong


BUILT = """
    import asyncio
    import os
    import threading

    import pydantic_ai
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    from tenuto import Agent, AgentContext, AgentWorkerConfig, Orchestrator, task_agent

    lock = threading.Lock()

    class Order(AgentContext):
        customer: int = 0

    def built() -> OpenAIChatModel:
        return OpenAIChatModel("any", provider=OpenAIProvider(base_url=os.environ["OPENAI_BASE_URL"], api_key="none"))

    clerk = pydantic_ai.Agent(built(), name="clerk", instructions="Serve.", deps_type=Order)

    @clerk.tool
    def stock(ctx: pydantic_ai.RunContext[Order]) -> str:
        with lock:
            return f"{ctx.deps.customer} in {os.getpid() != PARENT}"

    agent = Agent("buyer", "Buy.", built())

    @task_agent
    def locked(payload: Order) -> int:
        with lock:
            return payload.customer

    PARENT = os.getppid()

    async def main() -> None:
        async with Orchestrator(store="sqlite:///tasks.db", executor="process", openai_api_key="any") as orchestrator:
            orchestrator.register_runner(Agent.of(clerk, context_type=Order), AgentWorkerConfig(workers=2))
            orchestrator.register_runner([agent, locked])
            for each in (Agent.of(clerk), agent, locked):
                task = each.create_task(payload=Order(query="go", customer=17))
                await orchestrator.enqueue_task(each, task)
                print(await orchestrator.get_task_result(task.id, timeout=60))
            turns = await orchestrator.get_turns((await orchestrator.list_tasks(agent="clerk")).tasks[0].id)
            print(turns[1].messages[-1]["parts"][0]["content"])
"""

START = """
    if __name__ == "__main__":
        asyncio.run(main())
"""

RULES: Sequence[Rule] = [
    Rule(tool="stock", turns=[Reply(tools=[ToolCall("stock", {})]), "seventeen"]),
    Rule(turns=["bought"]),
]


@pytest.mark.parametrize("arguments", [("program.py",), ("-m", "program")], ids=["a file", "a module"])
def test_what_has_no_value_to_be_sent_is_made_by_workers_that_import_the_program(
    tmp_path: Path, arguments: Sequence[str]
) -> None:
    # Given a program with an agent of Pydantic AI, a model that was built, and functions that use a lock
    with EndpointProcess(RULES) as endpoint:
        program = ran(tmp_path, BUILT + START, *arguments, **endpoint.environment)
    # Then all of them work in processes of their own
    assert lines(program) == ["seventeen", "bought", "17", "17 in True"]


def test_a_program_that_would_start_again_is_not_imported(tmp_path: Path) -> None:
    # Given the same program, started by its last line
    unguarded = BUILT + "\n    asyncio.run(main())\n"
    program = ran(tmp_path, unguarded, OPENAI_BASE_URL="http://127.0.0.1:1/v1")
    # Then it ends with a sentence that says what to do
    assert program.returncode == 1
    said = program.stderr.splitlines()[-1]
    assert "agent 'worker:clerk:1' cannot be sent to a process" in said
    assert "put what starts program.py under `if __name__ == '__main__':`, so that worker processes can import" in said


def test_what_is_not_at_the_top_level_is_told_by_name(tmp_path: Path) -> None:
    # Given an agent that is only made where the program starts
    text = """
        import asyncio, threading
        from tenuto import Orchestrator, task_agent

        async def main(agent):
            async with Orchestrator(store="sqlite:///tasks.db", executor="process") as orchestrator:
                orchestrator.register_runner(agent)

        if __name__ == "__main__":
            lock = threading.Lock()

            @task_agent
            def locked(payload):
                with lock:
                    return payload

            asyncio.run(main(locked))
    """
    program = ran(tmp_path, text)
    assert program.returncode == 1
    said = program.stderr.splitlines()[-1]
    assert "lock" in said
    assert f"or define it at the top level of {(tmp_path / 'program.py').resolve()}, which worker processes" in said


def test_an_agent_that_cannot_be_made_is_refused_before_anything_is_submitted(tmp_path: Path) -> None:
    # Given an agent whose output function nobody can read, beside another on the same worker
    text = """
        from __future__ import annotations
        import asyncio
        from tenuto import Agent, Orchestrator, task_agent
        from tenuto.testing import ScriptedModel

        def finish(number: Nobody) -> int:
            return 1

        broken = Agent("broken", None, ScriptedModel(["x"]), output_type=finish)

        @task_agent
        def fine(payload):
            return payload

        async def main():
            async with Orchestrator(store="sqlite:///tasks.db", executor="process") as orchestrator:
                orchestrator.register_runner([broken, fine])
                for agent in (fine, broken):
                    task = agent.create_task(payload="go")
                    await orchestrator.enqueue_task(agent, task)
                    try:
                        print(await orchestrator.get_task_result(task.id, timeout=60))
                    except Exception as error:
                        print(error)

        if __name__ == "__main__":
            asyncio.run(main())
    """
    # When the program gives it a runner
    program = ran(tmp_path, text)
    # Then it learns at once why that is of no use
    assert program.returncode == 1
    said = program.stderr.splitlines()[-1]
    assert "agent 'broken' cannot work: it cannot be made: NameError: name 'Nobody' is not defined" in said
