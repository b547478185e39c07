"""A real supervisor under the command line: seen, directed, and shut down from outside, also while agents die."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tenuto.supervisor.agents.base import BaseProcessAgent
from tenuto.supervisor.command_client import CommandClient
from tenuto.supervisor.restart import RestartPolicy
from tests.integration.cli.program import Program
from tests.integration.supervisor import service_agents as agents
from tests.integration.supervisor.stage import LIMIT, dead, stage, until

PROGRAM = """
    from tenuto import *

    class Waits(BaseProcessAgent):
        class Config(BaseProcessAgent.Config):
            api_key = "hunter2"
            headers = {"Authorization": "hunter2", "agents": {"cook": "one"}}
        def execute(self):
            self.logger.info("waiting")
            self.wait()

    orchestrator = Orchestrator(store="memory://", enable_command_interface=True, run_mode="DAEMON")
    orchestrator.register_agent(Waits, "db")
    orchestrator.register_agent(Waits, "api")
    orchestrator.add_dependency("api", ["db"])
    orchestrator.start()
    orchestrator.lifecycle_manager.entry("api").wait("RUNNING", timeout=60)
    print("up", flush=True)
    orchestrator.run()
    print("over", flush=True)
"""


def test_a_program_is_seen_directed_and_shut_down_from_outside(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(PROGRAM))
    environment = {**os.environ, "TENUTO_LOG_DIR": str(tmp_path / "logs")}

    def tenuto(*arguments: str) -> str:
        command = [sys.executable, "-m", "tenuto", *arguments]
        ran = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    for _ in range(2):  # the second time with the same address
        with subprocess.Popen(
            [sys.executable, script], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            assert running.stdout.readline() == "up\n"
            assert tenuto("ps").count("RUNNING") == 2
            shown = tenuto("status", "api")
            assert "db" in shown
            assert "hunter2" not in shown
            assert "headers            Authorization=***" in shown
            tenuto("stop", "api")
            assert "TERMINATED" in tenuto("ps")
            tenuto("start", "api")
            tenuto("restart", "db")
            assert "waiting" in tenuto("logs", "db")
            assert "AGENT_TERMINATED" in tenuto("history", "--agent", "db")
            children = psutil.Process(running.pid).children(recursive=True)
            tenuto("shutdown")
            assert running.stdout.readline() == "over\n"
            assert running.wait(LIMIT) == 0
            until(lambda: all(map(dead, children)))  # noqa: B023 - called here


class Mortal(BaseProcessAgent):
    class Config(BaseProcessAgent.Config):
        restart = RestartPolicy(mode="always", max_restarts=None, backoff=0.02, max_backoff=0.1)

    def execute(self) -> None:
        self.wait()


def test_while_agents_are_killed_ps_answers_and_every_death_is_told_once(tmp_path: Path) -> None:
    with stage(max_workers=9, enable_command_interface=True, run_mode="DAEMON") as world:
        for number in range(8):
            world.register_agent(Mortal, f"a{number}")
        world.register_agent(agents.WaitsInThread, "last")
        world.start()
        assert world.command_interface is not None
        killed = 0
        with CommandClient(world.command_interface.address, timeout=LIMIT) as client:
            while killed < 60:
                rows: Any = client.request("ps")
                assert len(rows) == 9
                pids = [entry.pid for entry in world.lifecycle_manager.entries if entry.pid]
                if pids:
                    with suppress(ProcessLookupError):  # it has just died
                        os.kill(random.choice(pids), signal.SIGKILL)
                        killed += 1
                time.sleep(0.005)
        mortals = [world[f"a{number}"] for number in range(8)]
        until(lambda: all(entry.state == "RUNNING" for entry in mortals))  # every slot was regained
        world.stop()
        for entry in mortals:
            told = [each.generation for each in world.records(entry.name, "AGENT_TERMINATED")]
            assert told == list(range(1, entry.generation + 1))


def test_a_shell_is_told_what_has_become_of_an_agent(tmp_path: Path) -> None:
    tenuto = Program(tmp_path)
    release = threading.Event()
    settings = agents.Stuck.Config(stop_timeout=0.1)
    with stage(max_workers=2, enable_command_interface=True, run_mode="DAEMON", survivors=("stuck",)) as world:
        # Given two agents that hold all slots, one of which cannot be stopped, and one that waits
        world.register_agent(agents.WaitsInThread, "holder")
        world.register_agent(agents.Stuck, "stuck", settings, release=release)
        world.register_agent(agents.WaitsInThread, "next")
        world.start()
        world.running("holder")
        world.running("stuck")
        # Then each command says how it is
        assert re.fullmatch(r"next +QUEUED +thread +waits for a slot", tenuto("ps").out.splitlines()[3])
        assert tenuto("restart", "next").out == "next is queued: waits for a slot\n"
        assert tenuto("stop", "next").out == "next stopped: TERMINATED: stopped before it was started\n"
        assert tenuto("stop", "holder").out == "holder stopped: TERMINATED\n"
        assert tenuto("start", "next").out == "next started\n"
        assert "'stuck' does not stop and is left behind" in tenuto("stop", "stuck", code=2).err
    release.set()


def test_an_error_is_one_line_of_the_history_and_its_traceback_is_there_for_programs(tmp_path: Path) -> None:
    tenuto = Program(tmp_path)
    with stage(enable_command_interface=True, run_mode="DAEMON") as world:
        world.register_agent(agents.FailsInSetup, "db")
        world.start()
        world.over("db")
        (shown,) = tenuto("history", "--event", "agent_error").out.splitlines()
        assert "error_message=ConnectionError: no route to host" in shown
        assert "traceback" not in shown
        (record,) = tenuto("history", "--event", "agent_error", "--format", "json").json["events"]
        assert "Traceback" in record["data"]["traceback"]
