"""The endpoint as a process: it counts on while those who call it are killed, and ends with the test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from pydantic_ai import Agent

from tenuto.errors import InvalidInput, Unreachable, WaitTimeout
from tenuto.testing import EndpointProcess, Reply, Rule
from tests.integration.testing.clients import model

CALLER = """
import asyncio
from pydantic_ai import Agent
print(asyncio.run(Agent("openai-chat:m").run("Go")).output)
"""


def _call(endpoint: EndpointProcess) -> subprocess.Popen[str]:
    environment = {**os.environ, **endpoint.environment}
    return subprocess.Popen([sys.executable, "-c", CALLER], env=environment, stdout=subprocess.PIPE, text=True)


def test_counts_survive_the_death_of_those_who_call() -> None:
    # Given a caller that is killed while it waits
    with EndpointProcess([[Reply(text="never", hold="gate"), "at last"]]) as endpoint:
        first = _call(endpoint)
        endpoint.wait_for(1, turn=1)
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
        assert endpoint.wait_for(1, outcome="gone")
        # When the next one asks the same
        second = _call(endpoint)
        said, _ = second.communicate(timeout=60)
        # Then
        assert said == "at last\n"
        assert [(call.attempt, call.outcome) for call in endpoint.calls] == [(1, "gone"), (2, "answered")]
        assert endpoint.count(outcome="answered") == 1


async def test_it_takes_another_script_and_lets_go() -> None:
    async with EndpointProcess(["old"], models=["scripted-1"]) as endpoint:
        agent = Agent("test")
        async with model("anthropic", endpoint) as asked:
            assert (await agent.run("Go", model=asked)).output == "old"
            await asyncio.to_thread(endpoint.replace, [Rule(first="Go", turns=[Reply(text="new", hold="a gate")])])
            running = asyncio.create_task(agent.run("Go", model=asked))
            await asyncio.to_thread(endpoint.wait_for, 2)
            await asyncio.to_thread(endpoint.release, "a gate")
            assert (await running).output == "new"


def test_it_ends_with_its_context_and_is_then_out_of_reach() -> None:
    with EndpointProcess() as endpoint:
        assert endpoint.calls == []
        with pytest.raises(WaitTimeout, match="has 0 such calls, not 1"):
            endpoint.wait_for(1, timeout=0.01)
    with pytest.raises(Unreachable, match="does not answer"):
        endpoint.count()


def test_it_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    # Given
    program = "import sys; from tenuto.testing import EndpointProcess; e = EndpointProcess().start(); "
    program += "print(e.port, flush=True); sys.stdin.read()"
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    assert int(parent.stdout.readline()) > 0
    (child,) = psutil.Process(parent.pid).children()
    # When
    parent.kill()
    parent.communicate()
    # Then
    child.wait(timeout=60)


def test_the_command_prints_its_address_first_and_ends_when_told_to(tmp_path: Path) -> None:
    # Given
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"turns": ["hello"]}))
    line = [sys.executable, "-m", "tenuto.testing.endpoint", "--script", str(script), "--port", "0"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    # When
    url = process.stdout.readline()
    process.terminate()
    # Then
    assert url.startswith("http://127.0.0.1:")
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    ("text", "message"), [('{"turn": []}', "the script is not valid"), (None, "No such file or directory")]
)
def test_a_bad_script_is_one_sentence(tmp_path: Path, text: str | None, message: str) -> None:
    script = tmp_path / "script.json"
    if text is not None:
        script.write_text(text)
    line = [sys.executable, "-m", "tenuto.testing.endpoint", "--script", str(script)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with EndpointProcess() as first, pytest.raises(OSError, match="did not start"):
        EndpointProcess(port=first.port).start()
    assert "address already in use" in capfd.readouterr().err


def test_a_function_cannot_travel() -> None:
    with pytest.raises(InvalidInput, match="a function cannot travel"):
        EndpointProcess(lambda request: "x")
