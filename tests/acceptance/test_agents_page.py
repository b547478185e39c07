"""The samples of docs/agents.md, as they stand there, against a scripted provider."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.testing import EndpointProcess, Reply, Rule, ToolCall
from tenuto.testing.script import read_script

PAGE = (Path(__file__).parents[2] / "docs/agents.md").read_text(encoding="utf-8")
LIMIT = 180
BEGIN = """
import asyncio
from tenuto import Agent, AgentContext, Orchestrator, RetryPolicy
"""


def sample(*words: str) -> str:
    """The one sample of the page that contains all of `words`."""
    found = [
        each for each in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if all(word in each for word in words)
    ]
    (text,) = found
    return str(text)


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[EndpointProcess]:
    with EndpointProcess() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("TENUTO_STORE", raising=False)
        yield running


def run(folder: Path, *parts: str) -> list[str]:
    """The lines that a script of these parts prints."""
    script = folder / "script.py"
    script.write_text("\n".join(textwrap.dedent(part) for part in parts), encoding="utf-8")
    return ran(folder, sys.executable, str(script))


def ran(folder: Path, *line: str) -> list[str]:
    done = subprocess.run(
        line,
        cwd=folder,
        env={**os.environ, "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def in_program(*parts: str) -> str:
    """These parts inside an orchestrator that runs."""
    body = textwrap.indent("\n".join(textwrap.dedent(part) for part in parts), " " * 8)
    return f"async def main():\n    async with Orchestrator() as orchestrator:\n{body}\nasyncio.run(main())"


def test_five_minutes(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given the page's program and its script
    (script,) = re.findall(r"`script.json`:\n\n```json\n(.*?)```", PAGE, re.DOTALL)
    endpoint.replace(read_script(script))
    (tmp_path / "analyst.py").write_text(sample("report-1"), encoding="utf-8")
    # When it runs, twice
    first = ran(tmp_path, sys.executable, "analyst.py")
    second = ran(tmp_path, sys.executable, "analyst.py")
    # Then the answer is there, and was paid for once
    # (two tools print at once: their lines may run into each other)
    assert all("".join(first[:-1]).count(f"looking up {quarter}") == 1 for quarter in ("Q1", "Q2"))
    assert first[-1:] == second == ["The first."]
    assert endpoint.count() == 2
    # And the commands show it
    (commands,) = re.findall(r"left in the store:\n\n```\n(.*?)```", PAGE, re.DOTALL)
    shown = [ran(tmp_path, sys.executable, "-m", *line.split()) for line in commands.splitlines()]
    assert all("gpt-5-mini" in "\n".join(lines) for lines in shown[1:])
    assert "The first." in "\n".join(shown[0])


def test_an_agent_of_pydantic_ai(tmp_path: Path, endpoint: EndpointProcess) -> None:
    endpoint.replace([Reply(tools=[ToolCall("stock", {"article": "flour"})]), "Seven."])
    (tmp_path / "clerks.py").write_text(sample('name="clerk"'), encoding="utf-8")
    use = """
    import clerks
    orchestrator.register_runner(clerks.clerk)
    task = Agent.of(clerks.clerk).create_task(payload="How much flour?")
    await orchestrator.enqueue_task("clerk", task)
    print(await orchestrator.get_task_result(task.id))
    """
    assert run(tmp_path, BEGIN, in_program(use)) == ["Seven."]


def test_one_in_the_program_itself_needs_a_guard(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given the page's agent in the program that runs it
    endpoint.replace(["Seven."])
    use = """
    from tenuto import InvalidInput
    try:
        orchestrator.register_runner(clerk)
        task = Agent.of(clerk).create_task(payload="How much flour?")
        await orchestrator.enqueue_task("clerk", task)
        print(await orchestrator.get_task_result(task.id))
    except InvalidInput as error:
        print(error)
    """
    program, start = in_program(use).rsplit("\n", 1)
    # When workers could not import it without starting it, then that is said
    (said,) = run(tmp_path, BEGIN, sample('name="clerk"'), program, start)
    assert "put what starts script.py under `if __name__ == '__main__':`" in said
    # When they can, it works
    guarded = f"if __name__ == '__main__':\n    {start}"
    assert run(tmp_path, BEGIN, sample('name="clerk"'), program, guarded) == ["Seven."]


def test_reading_along(tmp_path: Path, endpoint: EndpointProcess) -> None:
    endpoint.replace(["Rivers run to the sea."])
    assert run(tmp_path, BEGIN, in_program(sample("reporter"))) == ["Rivers run to the sea."]


TOOLS = """
class Bank:
    def rate(self, currency):
        return 1.1

    def find(self, key):
        return "retry"

    def pay(self, invoice, cents, key):
        assert key
        return f"paid {cents}"

bank = Bank()

async def post(question, reply_to):
    print(question, reply_to)
"""


def test_tools_and_people(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given a model that uses all tools of the page
    calls = [
        ToolCall("rate", {"currency": "SEK"}, id="call-0"),
        ToolCall("pay", {"invoice": "7", "cents": 5}, id="call-4"),
        ToolCall("refund", {"order": "A-7", "cents": 900}, id="call-1"),
        ToolCall("refund", {"order": "A-8", "cents": 9_000_000}, id="call-2"),
        ToolCall("ask_lawyer", {"question": "May I?"}, id="call-3"),
    ]
    endpoint.replace([Reply(tools=calls), "Done."])
    begin = """
    clerk = Agent("clerk", "Serve.", "openai:gpt-5-mini", [rate, pay, refund, ask_lawyer])
    orchestrator.register_runner(clerk)
    task_id = await orchestrator.enqueue_task(clerk, clerk.create_task(id="t", payload="go"))
    while len(await orchestrator.open_calls(task_id)) < 3:
        await asyncio.sleep(0.05)
    """
    end = "print(await orchestrator.get_task_result(task_id))"
    # When people answer as the page says
    program = in_program(begin, sample("open_calls"), end)
    said = run(tmp_path, BEGIN, TOOLS, sample("def ask_lawyer"), program)
    # Then the agent has heard all of them
    assert said[0] == "May I? ('t', 'call-3')"
    assert sorted(line.split()[:2] for line in said[1:4]) == [
        ["answer", "call-3"],
        ["approval", "call-1"],
        ["approval", "call-2"],
    ]
    assert said[4:] == ["Done."]
    heard = endpoint.calls[-1].text
    for words in ("1.1", "paid 5", "refunded 900 for A-7", "too much", "allowed"):
        assert words in heard
    assert "refunded 9000000" not in heard


def test_tools_of_mcp_servers(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given the page's agent, with real servers
    endpoint.replace([Reply(tools=[ToolCall("look", {"place": "shop"})]), "It is open."])
    server = str(Path(__file__).parents[1] / "servers/mcp_server.py")
    log = tmp_path / "log"
    started = sample("MCPToolset").replace(
        '"my-mcp-server", ["--read-only"]', repr((sys.executable, [server, str(log)]))[1:-1]
    )
    use = """
    orchestrator.register_runner(librarian)
    task = librarian.create_task(payload="Is the shop open?")
    await orchestrator.enqueue_task(librarian, task)
    print(await orchestrator.get_task_result(task.id))
    """
    only_stdio = started.replace("toolsets=[files, stock]", "toolsets=[files]")
    # When it works, then it has asked the server
    assert run(tmp_path, BEGIN, only_stdio, in_program(use)) == ["It is open."]
    assert log.read_text(encoding="utf-8").splitlines()[-1] == "look shop"


def test_steering_pausing_ending(tmp_path: Path, endpoint: EndpointProcess) -> None:
    endpoint.replace([Reply(text="never said", silent=True)])
    begin = """
    from tenuto.errors import TaskCancelled
    clerk = Agent("clerk", "Serve.", "openai:gpt-5-mini")
    orchestrator.register_runner(clerk)
    task_id = await orchestrator.enqueue_task(clerk, clerk.create_task(payload="go"))
    """
    end = "print(await orchestrator.get_task_status(task_id))"
    assert run(tmp_path, BEGIN, in_program(begin, sample("steer_task"), end)) == ["cancelled"]


def test_agents_that_work_for_agents(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given a writer who has two subjects compared, asks for a third, and hands the rest over
    endpoint.replace(
        [
            Rule(system="You write", turns=[
                Reply(tools=[ToolCall("compare", {"subjects": ["rivers", "lakes"]})]),
                Reply(tools=[ToolCall("researcher", {"query": "seas"})]),
                Reply(tools=[ToolCall("final_result", {"query": "may I fish?"})]),
            ]),
            Rule(system="You find facts", turns=["They are wet."]),
            Rule(system="of law", turns=["You may."]),
        ]
    )  # fmt: skip
    begin = """
    orchestrator.register_runner([writer, researcher, lawyer])
    task_id = await orchestrator.enqueue_task(writer, writer.create_task(payload="Water"))
    """
    end = """
    print(await orchestrator.get_task_result(task_id))
    """
    model = 'MODEL = "openai:gpt-5-mini"'
    # When it writes, and somebody follows how far its children are
    said = run(tmp_path, BEGIN, model, sample("hand_off"), in_program(begin, sample("follow_batch"), end))
    # Then all have done their part: two at once, one alone, and the lawyer
    assert said[-2:] == ["4 of 4 are done, 0 have failed", "You may."]
    assert endpoint.count("They are wet.") == 2


def test_money_and_rates(tmp_path: Path, endpoint: EndpointProcess) -> None:
    endpoint.replace(["The first."])
    begin = """
    analyst = Agent("analyst", "Analyse.", "openai:gpt-5-mini")
    orchestrator.register_runner(analyst)
    """
    end = """
    await orchestrator.enqueue_task(analyst, task)
    print(await orchestrator.get_task_result(task.id))
    print(sorted(use.budget.scope.partition(":")[0] for use in await orchestrator.budgets()))
    print(sorted(use.limit.key for use in await orchestrator.limits()))
    """
    said = run(tmp_path, BEGIN, in_program(begin, sample("budget=0.50"), sample("put_limit"), end))
    assert said[0] == "The first."
    assert "'owner'" in said[1]
    assert said[2] == "['model:openai', 'model:openai:tokens']"


def test_models(tmp_path: Path, endpoint: EndpointProcess) -> None:
    endpoint.replace(["Hello."])
    there = sample("11434").replace("http://localhost:11434/v1", endpoint.openai_url).replace("cli:claude", "cli:cat")
    use = """
    orchestrator.register_runner([local, reviewer])
    for agent in (local, reviewer):
        task = agent.create_task(payload="Hi")
        await orchestrator.enqueue_task(agent, task)
        print(await orchestrator.get_task_result(task.id))
    """
    assert run(tmp_path, BEGIN, there, in_program(use)) == ["Hello.", "Review the change.", "", "Hi"]
    assert endpoint.calls[0].model == "llama3.2"


def test_models_behind_models(tmp_path: Path, endpoint: EndpointProcess) -> None:
    # Given a model that is overloaded, and the one behind it
    down = Rule(turns=[Reply(status=529)], model="gpt-5-mini", repeat=True)
    endpoint.replace([down, Rule(turns=["Hello."], model="claude-haiku-4-5")])
    use = """
    orchestrator.register_runner(careful)
    task = careful.create_task(payload="Hi")
    await orchestrator.enqueue_task(careful, task)
    print(await orchestrator.get_task_result(task.id))
    """
    # Then the other one answers
    assert run(tmp_path, BEGIN, sample("ModelFallback"), in_program(use)) == ["Hello."]
    assert [call.model for call in endpoint.calls] == ["gpt-5-mini", "claude-haiku-4-5"]


def test_the_test_of_an_agent_passes(tmp_path: Path) -> None:
    (tmp_path / "test_analyst.py").write_text(sample("crash_matrix"), encoding="utf-8")
    (tmp_path / "pytest.toml").write_text('[pytest]\nasyncio_mode = "auto"\n', encoding="utf-8")
    line = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", "test_analyst.py")
    assert "1 passed" in ran(tmp_path, *line)[-1]


def test_every_sample_of_the_page_is_run_here() -> None:
    here = Path(__file__).read_text(encoding="utf-8")
    words = re.findall(r"sample\((\"[^)]*?\"|'[^)]*?')\)", here)
    run_here = {sample(each.strip("\"'")) for each in words if "*" not in each}
    assert set(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)) == run_here
