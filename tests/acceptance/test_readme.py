"""The README's five minutes, as they are written there."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tenuto.testing import EndpointProcess, Reply, ToolCall
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

README = Path(__file__).parents[2] / "README.md"
LIMIT = 180


@pytest.fixture(params=["sqlite", "redis", "postgresql"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the engines that the README names, chosen as it says: by `TENUTO_STORE`, and the first by nothing."""
    name = str(request.param)
    monkeypatch.delenv("TENUTO_STORE", raising=False)
    if name == "redis":
        monkeypatch.setenv("TENUTO_STORE", shared_redis().url(namespace=f"readme-{secrets.token_hex(4)}"))
    elif name == "postgresql":
        server = shared_postgres()
        monkeypatch.setenv("TENUTO_STORE", server.url(server.create_database(), tcp=True))
    return name


@pytest.fixture
def home(tmp_path: Path, engine: str) -> Path:
    """A folder with `letters.py`, whose letter sleeps for fifteen seconds instead of twenty."""
    assert f"| `{engine}://" in README.read_text()
    (code,) = re.findall(r"Put this into `letters.py`:\n\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert '"seconds": 20' in code
    (tmp_path / "letters.py").write_text(code.replace('"seconds": 20', '"seconds": 15'))
    return tmp_path


def start(home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "letters.py"], cwd=home, stdout=subprocess.PIPE, text=True)


def shell(home: Path, command: str) -> str:
    program, *arguments = command.split()
    assert program == "tenuto"
    done = subprocess.run(
        [sys.executable, "-m", "tenuto", *arguments],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env={**os.environ, "COLUMNS": "100"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def kill_when_it_has_drafted(home: Path) -> None:
    """Starts and kills the program in a shell of its own, as the README says."""
    told = re.search(r"Start it with `(.*?)`, .* kill it: `(.*?)`", README.read_text())
    assert told is not None
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with subprocess.Popen(
        ["sh"], cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=path
    ) as terminal:
        assert terminal.stdin is not None
        assert terminal.stdout is not None
        print(told[1], file=terminal.stdin, flush=True)
        assert terminal.stdout.readline() == "drafting\n"
        # A person is slower than the few milliseconds that this takes.
        assert any("WAITING" in shell(home, "tenuto task list") for _ in range(LIMIT))
        print(told[2], "wait $!", "echo ended with $?", sep="\n", file=terminal.stdin, flush=True)
        assert terminal.stdout.readline() == "ended with 137\n"  # by SIGKILL


def test_the_plan_runs(home: Path) -> None:
    (plan, command) = re.findall(r"```json\n(.*?)```\n\n```\n(.*?)```", README.read_text(), re.DOTALL)[0]
    (home / "plan.json").write_text(plan)
    said = shell(home, command.strip())
    assert "2 of 2 done" in said


def test_a_killed_letter_goes_on_and_is_not_drafted_again(home: Path) -> None:
    # Given the program, killed when it has drafted, by the commands of the README
    kill_when_it_has_drafted(home)

    # Then the commands of the README show what it left behind
    commands = re.search(r"it left\s+behind:\n\n```\n(.*?)```", README.read_text(), re.DOTALL)
    assert commands is not None
    listed, shown, explained = (shell(home, line) for line in commands[1].strip().splitlines())
    assert "letter-1" in listed
    assert "draft" in shown
    assert "letter-1" in explained

    # When it is started again, it goes on; and once more, it has the result at once
    second = start(home)
    said, _ = second.communicate(timeout=LIMIT)
    assert said.splitlines() == ["sending", "sent 24 characters"]
    third = start(home)
    said, _ = third.communicate(timeout=LIMIT)
    assert said.splitlines() == ["sent 24 characters"]


def test_an_llm_agent_is_paid_for_once_however_often_it_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the README's program, and a provider
    monkeypatch.delenv("TENUTO_STORE", raising=False)
    (code,) = re.findall(r"into `buyer.py`:\n\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "buyer.py").write_text(code)
    turns: list[Reply | str] = [
        Reply(tools=[ToolCall("stock", {"article": "strings"})]),
        Reply(tools=[ToolCall("order", {"article": "strings", "count": 8})]),
        "Eight more come on Monday.",
    ]
    with EndpointProcess(turns) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        # When it is started twice
        said = [
            subprocess.run(
                [sys.executable, "buyer.py"], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=True
            ).stdout.splitlines()
            for _ in range(2)
        ]
        # Then the second time there is nothing left to do, and the commands show what was done
        assert said == [["ordering 8 of strings", "Eight more come on Monday."], ["Eight more come on Monday."]]
        assert endpoint.count() == 3
    assert "it comes on Monday" in shell(tmp_path, "tenuto task messages strings")
    assert "ann" in shell(tmp_path, "tenuto usage")


def test_agents_that_run_by_themselves_are_looked_into_from_another_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given the README's program, which runs
    for name in ("TENUTO_STORE", "TENUTO_RUN_DIR", "TENUTO_LOG_DIR", "TENUTO_COMMAND_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    readme = README.read_text()
    (code,) = re.findall(r"Put this into\n`shop.py`:\n\n```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "shop.py").write_text(code)
    with subprocess.Popen([sys.executable, "shop.py"], cwd=tmp_path) as running:
        try:
            end = time.monotonic() + LIMIT
            while not (tmp_path / ".tenuto/logs/returns.log").exists():
                assert time.monotonic() < end
                time.sleep(0.05)

            # When the commands of the README are given
            (commands,) = re.findall(r"in the same folder:\n\n```\n(.*?)```", readme, re.DOTALL)
            listed, restarted, told, logged, ended = (shell(tmp_path, line) for line in commands.strip().splitlines())

            # Then they show and do what they say
            assert [line.split()[:2] for line in listed.splitlines()[1:]] == [
                ["orders", "RUNNING"],
                ["returns", "RUNNING"],
            ]
            assert restarted == "returns restarted\n"
            assert "AGENT_TERMINATED" in told
            assert "looking for work" in logged
            assert "has ended" in ended
            assert running.wait(LIMIT) == 0
        finally:
            running.kill()
