"""Agents that cannot work where they are started: what is lacking is told, and no task fails by it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tenuto import Client, Orchestrator, OrchestratorConfig
from tenuto.agents.llm.agent import Agent
from tenuto.errors import InvalidInput
from tenuto.stores.base import Store
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, EndpointProcess, Rule, ScriptedModel
from tests.integration.llm.rig import ask
from tests.integration.workers.rig import ended, working

KEYLESS = (
    "agent 'buyer' cannot work: the model 'openai:gpt-5-mini' needs a key: set the environment variable OPENAI_API_KEY"
)

PROGRAM = """
    import asyncio
    from tenuto import Agent, Orchestrator, task_agent

    buyer = Agent("buyer", None, {model})

    @task_agent
    def fine(payload):
        return payload

    async def main():
        async with Orchestrator(store="sqlite:///tasks.db", executor="process") as orchestrator:
            orchestrator.register_runner(buyer)
            task = buyer.create_task("ann", "Are there enough strings?", id="strings")
            await orchestrator.enqueue_task(buyer, task)
            print(await orchestrator.get_task_result("strings"))

    if __name__ == "__main__":
        asyncio.run(main())
"""


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python in a folder of its own, with an environment that has no keys but those that are given."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "TENUTO_", "REDIS_"))}

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env=bare | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def written(folder: Path, model: str) -> None:
    (folder / "program.py").write_text(textwrap.dedent(PROGRAM).format(model=model))


def test_a_program_without_a_key_says_so_and_works_once_it_has_one(
    tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    # Given a program whose agent needs a key
    written(tmp_path, '"openai:gpt-5-mini"')
    # When it is run without one
    without = run("program.py")
    # Then one sentence says what to do
    assert without.returncode == 1
    assert KEYLESS in without.stderr.splitlines()[-1]
    # When it has been done
    with EndpointProcess([Rule(turns=["enough"])]) as endpoint:
        after = run("program.py", **endpoint.environment)
    # Then the same program works
    assert after.stdout == "enough\n", after.stderr


def test_what_only_a_worker_can_find_out_ends_the_program_too(
    tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    # Given a model that cannot be made
    written(tmp_path, "lambda: {}['MY_MODEL']")
    # When the program waits for what its agent will say
    program = run("program.py")
    # Then it ends with the reason
    assert program.returncode == 1
    said = program.stderr.splitlines()[-1]
    assert "agent 'buyer' cannot work: it cannot be made: KeyError: 'MY_MODEL'" in said
    # And its task waits for a worker that can
    why = run("-m", "tenuto", "task", "why", "strings", TENUTO_STORE="sqlite:///tasks.db")
    assert "No live worker serves the agent 'buyer'" in why.stdout


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ('"openai:gpt-5-mini"', KEYLESS),
        (
            '"opnai:gpt-5"',
            "agent 'buyer' cannot work: the model 'opnai:gpt-5' is of a provider that nobody knows, 'opnai': did you "
            "mean 'openai:gpt-5'?",
        ),
        ('"cli:no-such-program"', "agent 'buyer' cannot work: the program 'no-such-program' of the model"),
        ("None", "agent 'buyer' cannot work: it has no model"),
        ("lambda: 5", "agent 'buyer' cannot work: the function that makes the model has made 5, which is none"),
    ],
)
def test_a_worker_that_can_serve_none_of_its_agents_does_not_start(
    tmp_path: Path, run: Callable[..., subprocess.CompletedProcess[str]], model: str, sentence: str
) -> None:
    written(tmp_path, model)
    # When a worker is started for it alone
    worker = run("-m", "tenuto", "worker", "--agents", "program:buyer", TENUTO_STORE="sqlite:///tasks.db")
    # Then it ends at once, with one sentence
    assert worker.returncode == 2
    assert worker.stderr.splitlines()[-1].startswith(f"tenuto: {sentence}")
    assert "Traceback" not in worker.stderr


async def test_a_worker_leaves_the_tasks_of_an_agent_that_it_cannot_serve_to_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a worker of two agents that has no key for one of them
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    keyed, free = Agent("keyed", None, "openai-chat:gpt-5-mini"), Agent("free", None, ScriptedModel(["done"] * 2))
    async with working(store, keyed, free):
        waiting = await ask(store, keyed)
        # When there are tasks for both
        assert (await ended(store, await ask(store, free))).state is State.DONE
        # Then those of the one wait, and it is known what for
        task = await store.task(waiting)
        assert task is not None
        assert (task.state, task.attempt) == (State.READY, 0)
        why = await store.why(waiting)
        assert why is not None
        assert "No live worker serves the agent 'keyed'" in str(why)
    # When another worker has the key
    with Endpoint([["here"]]) as endpoint:
        monkeypatch.setenv("OPENAI_BASE_URL", endpoint.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
        async with working(store, keyed):
            # Then it does them
            assert (await ended(store, waiting)).state is State.DONE


async def test_an_agent_asks_where_the_environment_says_when_its_worker_begins(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an agent that has worked at one address
    agent = Agent("clerk", None, "openai-chat:gpt-5-mini")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    for said in ("one", "two"):
        with Endpoint([[said]]) as endpoint:
            monkeypatch.setenv("OPENAI_BASE_URL", endpoint.openai_url)
            # When another worker of the same process begins where the address is another
            async with working(store, agent):
                task = await ended(store, await ask(store, agent))
            # Then it asks there
            assert task.state is State.DONE, task.error
            assert endpoint.count() == 1


async def test_what_passes_by_itself_does_not_end_a_worker_for_good(tmp_path: Path) -> None:
    # Given an agent whose model is made from a file that is not there yet
    file = tmp_path / "answer"

    def made() -> ScriptedModel:
        return ScriptedModel([file.read_text()])

    async with Orchestrator(store=f"sqlite:///{tmp_path / 'tasks.db'}", executor="thread") as orchestrator:
        agent = Agent("late", None, made)
        orchestrator.register_runner(agent)
        task_id = await orchestrator.enqueue_task(agent, agent.create_task(payload="go"))
        # When it is there
        while not orchestrator.lifecycle_manager.entries[0].restarts:
            await orchestrator.get_task_status(task_id)
        file.write_text("at last")
        # Then the worker serves it
        assert await orchestrator.get_task_result(task_id, timeout=60) == "at last"


def test_join_raises_what_has_ended_a_worker_for_good(tmp_path: Path) -> None:
    # Given an orchestrator whose agent's model cannot be made
    def made() -> ScriptedModel:
        raise ValueError("no such model here")

    orchestrator = Orchestrator(OrchestratorConfig(executor="thread"), store=f"sqlite:///{tmp_path / 'tasks.db'}")
    orchestrator.register_runner(Agent("broken", None, made))
    # When it is started, and waited for
    orchestrator.start()
    # Then it ends with the reason
    with pytest.raises(InvalidInput, match="no such model here"):
        orchestrator.join(60)


async def test_who_waits_for_a_result_learns_that_nobody_is_left_to_work(tmp_path: Path) -> None:
    # Given an orchestrator that was started without a block, whose agent's model cannot be made
    def made() -> ScriptedModel:
        raise ValueError("no such model here")

    agent = Agent("broken", None, made)
    async with Client(f"sqlite:///{tmp_path / 'tasks.db'}") as client:
        orchestrator = Orchestrator(OrchestratorConfig(executor="thread"), store=client.store)
        await orchestrator.enqueue_task(agent, agent.create_task("ann", "hello", id="one"))
        orchestrator.register_runner(agent)
        orchestrator.start()
        # When a result is waited for, then the reason is told, also to who comes later
        for _ in range(2):
            with pytest.raises(InvalidInput, match="no such model here"):
                await orchestrator.get_task_result("one")
        # And the task is left to others
        task = await client.store.task("one")
        assert task is not None
        assert task.state is State.READY
        await asyncio.to_thread(orchestrator.stop)
