"""`tenuto ps` and its siblings, as a shell runs them, against a real command interface."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.observability.agent_logs import AgentLog, AgentLogConfig
from tests.integration.cli.program import PATIENCE, Program
from tests.integration.supervisor.conftest import Kitchen

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture
def tenuto(tmp_path: Path) -> Iterator[Program]:
    program = Program(tmp_path)
    yield program
    program.close()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    return process.returncode, err


def test_ps_and_status(tenuto: Program, kitchen: Kitchen) -> None:
    kitchen.listen()
    shown = tenuto("ps").out.splitlines()
    assert shown[0].split()[:4] == ["NAME", "STATE", "EXECUTOR", "PID"]
    assert [line.split()[:2] for line in shown[1:]] == [[name, "RUNNING"] for name in kitchen.crew.states]
    assert tenuto("ps", "--format", "json").json["agents"][0]["name"] == "cook"

    page = tenuto("status").out
    assert "DAEMON" in page
    assert "4 RUNNING" in page
    page = tenuto("status", "waiter").out
    assert "***" in page
    assert "sk-12345" not in page
    assert tenuto("status", "waiter", "--format", "json").json["depends_on"] == ["cook"]


def test_agents_are_stopped_started_and_restarted(tenuto: Program, kitchen: Kitchen) -> None:
    kitchen.listen()
    assert tenuto("stop", "cook").out == "cook stopped: TERMINATED\n"
    assert tenuto("start", "cook").out == "cook started\n"
    assert tenuto("restart", "cook", "--format", "json").json == {"agent": "cook"}
    assert "RUNNING already" in tenuto("start", "cook", code=2).err
    assert "there is no agent 'nobody'" in tenuto("stop", "nobody", code=3).err
    failed = tenuto("restart", "cleaner", code=1).err
    assert "the broom broke" in failed
    assert "parsley" not in failed


def test_stats_once_and_live(tenuto: Program, kitchen: Kitchen) -> None:
    kitchen.listen()
    kitchen.bus.emit("AGENT_ERROR", agent_name="cook", error_message="burnt")
    shown = tenuto("stats").out
    assert f"orchestrator {os.getpid()}" in shown
    assert "4 of 10 slots used" in shown
    assert tenuto("stats", "--format", "json").json["events"]["emitted"] >= 1

    live = tenuto.start("stats", "--live", "--interval", "100ms", "--format", "json")
    first, second = json.loads(read_line(live)), json.loads(read_line(live))
    assert second["events"]["emitted"] > first["events"]["emitted"]  # its own question is an event
    assert end(live) == (0, "")
    pictures = tenuto.start("stats", "--live", "--interval", "100ms")
    lines = [read_line(pictures) for _ in range(20)]
    assert len([line for line in lines if line.startswith("orchestrator")]) >= 2
    assert end(pictures)[0] == 0


def test_history_is_filtered_read_on_and_followed(tenuto: Program, kitchen: Kitchen) -> None:
    kitchen.listen()
    for number in range(3):
        kitchen.bus.emit("AGENT_ERROR", agent_name="cook", error_message=f"burnt {number}")
    kitchen.bus.emit("AGENT_READY", agent_name="waiter")

    ended = tenuto("history", "--event", "agent_error", "-n", "2")
    assert ["burnt 1" in ended.out, "burnt 2" in ended.out, "burnt 0" in ended.out] == [True, True, False]
    assert "tenuto task events" in ended.err
    page = tenuto("history", "--agent", "cook", "--after", "1", "--limit", "1", "--format", "json").json
    assert [each["data"]["error_message"] for each in page["events"]] == ["burnt 1"]
    assert page["after"] == 2
    assert "No events." in tenuto("history", "--severity", "critical").out
    assert "did you mean AGENT_ERROR" in tenuto("history", "--event", "agent_eror", code=2).err
    assert "severity must be debug" in tenuto("history", "--severity", "grave", code=2).err
    assert "no agent 'nobody'" in tenuto("history", "--agent", "nobody", code=3).err

    follower = tenuto.start("history", "--follow", "-n", "1", "--agent", "cook", "--format", "json")
    assert json.loads(read_line(follower))["data"]["error_message"] == "burnt 2"
    for number in range(3, 6):
        kitchen.bus.emit("AGENT_ERROR", agent_name="cook", error_message=f"burnt {number}")
    assert [json.loads(read_line(follower))["data"]["error_message"] for _ in range(3)] == [
        "burnt 3",
        "burnt 4",
        "burnt 5",
    ]
    assert end(follower) == (0, "")


def test_watching_ends_with_the_orchestrator(tenuto: Program, kitchen: Kitchen) -> None:
    interface = kitchen.listen()
    kitchen.bus.emit("AGENT_READY", agent_name="cook")
    follower = tenuto.start("history", "--follow", "--agent", "cook")
    pictures = tenuto.start("stats", "--live", "--interval", "100ms", "--timeout", "50s")
    assert "AGENT_READY" in read_line(follower)
    assert "orchestrator" in read_line(pictures)
    interface.stop()
    for watching in (follower, pictures):
        _, err = watching.communicate(timeout=PATIENCE)
        assert (watching.returncode, err) == (0, f"The orchestrator at {interface.address} has ended.\n")


def test_the_other_pages(tenuto: Program, kitchen: Kitchen) -> None:
    kitchen.listen(allowed_commands="monitoring")
    assert "COMMAND_EXECUTED" not in tenuto("history-stats").out
    assert tenuto("history-stats", "--format", "json").json["by_event"] == {"COMMAND_EXECUTED": 1}
    assert [line.split() for line in tenuto("dependencies").out.splitlines()[1:3]] == [["cook"], ["waiter", "cook"]]
    assert tenuto("dependencies", "--format", "json").json["depends_on"] == {"waiter": ["cook"]}
    allowed = {line.split()[0]: line.split()[1] for line in tenuto("commands").out.splitlines()[1:]}
    assert (allowed["ps"], allowed["stop"]) == ("yes", "no")
    assert tenuto("commands", "--format", "json").json["commands"][0]["name"] == "ps"
    assert "not allowed here" in tenuto("stop", "cook", code=8).err


def test_shutdown_returns_when_the_address_is_free(tenuto: Program, kitchen: Kitchen) -> None:
    interface = kitchen.listen()
    kitchen.crew.at_shutdown = interface.stop
    assert "has ended" in tenuto("shutdown").out
    kitchen.listen(interface.address)  # at once

    slow = kitchen.interface
    kitchen.crew.at_shutdown = kitchen.crew.patience.wait
    ended = tenuto("shutdown", "--timeout", "300ms", code=5, TENUTO_COMMAND_ADDRESS=slow.address)
    assert "still shutting down" in ended.err


def test_where_nobody_answers(tenuto: Program, kitchen: Kitchen, private_run_directory: Path) -> None:
    for arguments in (
        ["ps"],
        ["ps", "--socket", "no.sock"],
        ["stop", "cook", "--address", "tcp://127.0.0.1:1"],
        ["stats", "--live"],
        ["shutdown"],
    ):
        ended = tenuto(*arguments, code=7)
        assert ended.out == ""
        assert ended.err.startswith("tenuto: no orchestrator")
        assert len(ended.err.splitlines()) == 1
    for arguments, said in (
        (["ps", "--socket", "a", "--address", "b"], "exclude each other"),
        (["ps", "--address", "udp://x:1"], "use ipc://PATH or tcp://HOST:PORT"),
        (["ps", "--timeout", "soon"], "--timeout 'soon'"),
        (["history", "--limit", "5000"], "--limit"),
        (["stop"], "Missing argument"),
    ):
        assert said in tenuto(*arguments, code=2).err

    kitchen.listen()
    ended = tenuto("stop", "sloth", "--timeout", "300ms", code=7)
    assert "has not answered 'stop' within 0.3 seconds" in ended.err


def test_addresses_and_tokens(tenuto: Program, kitchen: Kitchen) -> None:
    address = kitchen.listen("tcp://127.0.0.1:*", token=TOKEN).address
    assert "token is missing or wrong" in tenuto("ps", "--address", address, code=8).err
    assert tenuto("ps", "--address", address, TENUTO_COMMAND_TOKEN=TOKEN).out
    assert tenuto("ps", TENUTO_COMMAND_ADDRESS=address, TENUTO_COMMAND_TOKEN=TOKEN).out


def test_an_orchestrator_is_found_in_the_folder_it_was_started_in(
    tenuto: Program, kitchen: Kitchen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TENUTO_RUN_DIR")
    del tenuto.environment["TENUTO_RUN_DIR"]
    monkeypatch.chdir(tenuto.home)
    kitchen.listen()
    assert (tenuto.home / ".tenuto/run/orchestrator.sock").exists()
    assert (tenuto.home / ".tenuto/run").stat().st_mode & 0o777 == 0o700
    assert tenuto("ps").out
    assert tenuto("ps", "--socket", ".tenuto/run/orchestrator.sock").out
    assert tenuto("ps", "--socket", "orchestrator").out  # by its name


def test_logs_are_listed_shown_and_followed(tenuto: Program) -> None:
    folder = tenuto.home / ".tenuto/logs"
    assert "There are no logs" in tenuto("logs").out
    assert "has no log in" in tenuto("logs", "db", code=3).err
    with AgentLog("db", AgentLogConfig(directory=str(folder), max_bytes=1_500, backups=5)) as log:
        for number in range(30):
            log.logger.info("working", number=number)
        try:
            raise ValueError("spoilt")
        except ValueError:
            log.logger.exception("failed")
        assert (folder / "db.log.1").exists()

        shown = tenuto("logs", "db", "-n", "20").out
        assert [f"number={number}\n" in shown for number in (11, 29)] == [True, True]
        assert "    ValueError: spoilt" in shown
        assert "number=10\n" not in shown
        ended = tenuto("logs", "db", "-n", "2", "--format", "json").out.splitlines()
        assert [json.loads(line)["event"] for line in ended] == ["working", "failed"]
        assert tenuto("logs", "--format", "json").json["logs"][0]["agent"] == "db"
        assert tenuto("logs").out.splitlines()[1].split()[0] == "db"

        follower = tenuto.start("logs", "db", "-f", "-n", "1", "--format", "json")
        assert json.loads(read_line(follower))["event"] == "failed"
        for number in range(100, 130):  # more than one file holds
            log.logger.info("still working", number=number)
            time.sleep(0.02)
        assert [json.loads(read_line(follower))["number"] for _ in range(30)] == list(range(100, 130))
        assert end(follower) == (0, "")
