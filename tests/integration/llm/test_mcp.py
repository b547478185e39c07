"""MCP servers as tool sources: real servers, as programs over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastmcp.client.transports import StdioTransport
from pydantic_ai.mcp import MCPToolset

from tenuto.agents.llm.agent import Agent
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.testing import CrashRun, Reply, Script, ScriptedModel, ToolCall, crash_matrix
from tests.integration.llm.rig import ask, stored
from tests.integration.workers.rig import ended, until, working
from tests.servers.ports import free_port

LIMIT = 60
SERVER = Path(__file__).parents[2] / "servers/mcp_server.py"
TWO_PLACES: Script = [
    Reply(tools=[ToolCall("look", {"place": "shop"})]),
    Reply(tools=[ToolCall("look", {"place": "bank"})]),
    "both are open",
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What the server notes."""
    found = tmp_path / "mcp.log"
    found.touch()
    return found


def calls_in(log: Path) -> list[str]:
    return [line for line in log.read_text(encoding="utf-8").splitlines() if line != "start"]


@contextmanager
def running(port: int, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server over HTTP."""
    with subprocess.Popen([sys.executable, str(SERVER), str(log), str(port)]) as server:
        try:
            end = time.monotonic() + LIMIT
            while not listens(port):
                assert time.monotonic() < end
                time.sleep(0.05)
            yield server
        finally:
            server.kill()


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(params=["stdio", "http"])
def shop(request: pytest.FixtureRequest, log: Path) -> Iterator[MCPToolset[object]]:
    """A server that runs, or that is started by whoever needs it."""
    if request.param == "stdio":
        yield MCPToolset(StdioTransport(sys.executable, [str(SERVER), str(log)], keep_alive=False), id="shop")
        return
    port = free_port()
    with running(port, log):
        yield MCPToolset(f"http://127.0.0.1:{port}/mcp", id="shop")


async def test_tools_of_a_server_are_found_and_called_once(store: Store, shop: MCPToolset[object], log: Path) -> None:
    # Given an agent whose tools are those of a server
    agent = Agent("buyer", "Buy.", ScriptedModel(TWO_PLACES), toolsets=[shop])
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it has used them, and its journal holds what the server offers and what it said
    assert task.state is State.DONE, task.error
    assert calls_in(log) == ["look shop", "look bank"]
    keys = [step.key for step in await store.journal(task.id)]
    assert "turn-1/mcp_server__shop.get_tools#0" in keys
    assert sum(key.endswith("/look") for key in keys) == 2


@pytest.mark.timeout(600)
async def test_what_a_server_said_is_not_asked_for_again_when_the_worker_is_killed(
    shop: MCPToolset[object], log: Path, tmp_path: Path
) -> None:
    # Given an agent that calls a server twice
    agent = Agent("buyer", "Buy.", ScriptedModel(TWO_PLACES), toolsets=[shop])

    def check(run: CrashRun) -> None:
        calls = Counter(calls_in(log))
        log.write_text("", encoding="utf-8")
        assert set(calls) == {"look shop", "look bank"}, run.place
        assert sum(calls.values()) <= 2 + len(run.crashes), (run.place, calls)

    # When its worker is killed at one of its requests after the other, then only what was under way is done again
    runs = await crash_matrix(agent, agent.create_task(payload="go"), folder=tmp_path, check=check, every=12)
    assert {run.result for run in runs} == {stored("both are open")}


async def test_a_server_that_is_away_ends_the_attempt_with_its_name(store: Store, log: Path) -> None:
    # Given an agent whose server does not listen
    away = MCPToolset(f"http://127.0.0.1:{free_port()}/mcp", id="shop")
    agent = Agent("buyer", "Buy.", ScriptedModel(TWO_PLACES), toolsets=[away], max_retries=1)
    # When it works
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    # Then it was tried again, and the error says which server it is
    assert task.state is State.FAILED
    assert task.attempt == 2
    assert task.error is not None
    assert task.error.type == "Unreachable"
    assert "the MCP server 'shop' does not answer" in task.error.message


async def test_a_server_that_dies_in_a_call_is_asked_again_when_it_is_back(store: Store, log: Path) -> None:
    # Given a server over HTTP that takes itself away in the middle of a call
    port = free_port()
    turns: Script = [Reply(tools=[ToolCall("die", {"once": "x"})]), "alive again"]
    shop = MCPToolset(f"http://127.0.0.1:{port}/mcp", id="shop", tool_error_behavior="error")
    patient = RetryPolicy(max_retries=50, base=100, factor=1.0)
    agent = Agent("buyer", "Buy.", ScriptedModel(turns), toolsets=[shop], retry=patient)
    with running(port, log) as first:
        async with working(store, agent):
            task_id = await ask(store, agent)
            await asyncio.to_thread(first.wait, LIMIT)
            task = await until(store, task_id, lambda task: task.error is not None)
            assert task.error is not None
            assert "the MCP server 'shop' does not answer" in task.error.message
            # When it is started again
            with running(port, log):
                task = await ended(store, task_id)
    # Then the task goes on from that call
    assert task.state is State.DONE
    assert calls_in(log) == ["die x"] * 2
