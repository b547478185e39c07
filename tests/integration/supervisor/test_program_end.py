"""How whole programs end: by signals, killed, without a word, and what becomes of their agents."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tenuto.errors import Unreachable
from tenuto.supervisor.command_client import CommandClient
from tests.integration.supervisor.stage import LIMIT, dead, until

FRAME = """
    import subprocess, sys, threading, time
    from tenuto import *

    def say(*words):
        sys.stdout.write(" ".join(map(str, words)) + "\\n")  # as one, since several processes do
        sys.stdout.flush()

    class Waits(BaseProcessAgent):
        def setup(self):
            say(self.pid)
        def execute(self):
            self.wait()
        def on_close(self):
            say(self.name, "closed")

    class Sleeps(Waits):
        def setup(self):
            pass
        def execute(self):
            say(self.pid)  # from here on it looks at nothing
            time.sleep(1000)

    class Started(Waits):
        def setup(self):
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
            say(child.pid)

    def say_when_it_stops(name):
        def watch():
            orchestrator.lifecycle_manager.entry(name).wait(AgentState.STOPPING)
            say("stopping")
        threading.Thread(target=watch, daemon=True).start()

    orchestrator = Supervisor(agent_stop_timeout=20, run_mode="DAEMON")
"""


@contextmanager
def program(folder: Path, text: str) -> Iterator[subprocess.Popen[str]]:
    script = folder / "script.py"
    script.write_text(textwrap.dedent(FRAME) + textwrap.dedent(text))
    with subprocess.Popen([sys.executable, script], cwd=folder, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.kill()


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with program(
        tmp_path,
        """
        orchestrator.register_agent(Waits, "a")
        orchestrator.run()
        say("over")
        """,
    ) as running:
        line(running)
        running.send_signal(number)
        assert [line(running), line(running)] == ["a closed", "over"]
        assert running.wait(LIMIT) == 0


def test_a_signal_that_does_not_wake_the_main_thread_is_seen_all_the_same(tmp_path: Path) -> None:
    # Given a signal whose system call another thread is interrupted in, as one that comes just before the wait
    with program(
        tmp_path,
        """
        import signal, threading

        def raise_it():
            orchestrator.lifecycle_manager.entry("a").wait(AgentState.RUNNING)
            time.sleep(0.2)
            signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

        orchestrator.register_agent(Waits, "a")
        threading.Thread(target=raise_it).start()
        orchestrator.run()
        """,
    ) as running:
        line(running)
        # Then
        assert line(running) == "a closed"
        assert running.wait(LIMIT) == 0


def test_ctrl_c_in_join_ends_everything_cleanly(tmp_path: Path) -> None:
    with program(
        tmp_path,
        """
        orchestrator.register_agent(Waits, "a")
        orchestrator.start()
        try:
            orchestrator.join()
        except KeyboardInterrupt:
            say("interrupted")
        """,
    ) as running:
        line(running)
        running.send_signal(signal.SIGINT)
        assert [line(running), line(running)] == ["a closed", "interrupted"]


def test_a_second_signal_ends_it_at_once(tmp_path: Path) -> None:
    # Given an agent that takes long to stop, and has the time
    with program(
        tmp_path,
        """
        orchestrator = Supervisor(agent_stop_timeout=1000, run_mode="DAEMON")
        orchestrator.register_agent(Sleeps, "a")
        say_when_it_stops("a")
        orchestrator.run()
        """,
    ) as running:
        agent = psutil.Process(int(line(running)))
        running.send_signal(signal.SIGINT)
        assert line(running) == "stopping"
        # When there is another signal
        running.send_signal(signal.SIGINT)
        # Then the program is gone, and its agent with it
        assert running.wait(LIMIT) != 0  # and not after the time that its agent has
        until(lambda: dead(agent))


def test_a_second_signal_does_not_wait_for_a_stuck_thread(tmp_path: Path) -> None:
    with program(
        tmp_path,
        """
        class Stuck(BaseThreadAgent):
            def execute(self):
                say("stuck")
                while True:
                    time.sleep(1)

        orchestrator = Orchestrator(agent_stop_timeout=1000)
        orchestrator.register_agent(Stuck, "a")
        say_when_it_stops("a")
        orchestrator.run()
        """,
    ) as running:
        # Given
        assert line(running) == "stuck"
        running.send_signal(signal.SIGINT)
        assert line(running) == "stopping"
        # When
        running.send_signal(signal.SIGINT)
        # Then
        assert running.wait(LIMIT) != 0


def test_agents_die_with_a_program_that_is_killed(tmp_path: Path) -> None:
    with program(
        tmp_path,
        """
        orchestrator.register_agent(Waits, "a")
        orchestrator.register_agent(Sleeps, "b")
        orchestrator.start()
        orchestrator.join()
        """,
    ) as running:
        agents = [psutil.Process(int(line(running))) for _ in range(2)]
        processes = psutil.Process(running.pid).children(recursive=True)
        assert len(processes) == 3
        running.kill()
        assert line(running) == "a closed"  # those that look at their stop event even end cleanly
        until(lambda: all(map(dead, [*agents, *processes])))


@pytest.mark.parametrize("address", ["None", "'tcp://127.0.0.1:0'"])
def test_a_child_that_it_has_forked_holds_nothing_of_it_open(tmp_path: Path, address: str) -> None:
    # Given
    with program(
        tmp_path,
        f"""
        import multiprocessing
        orchestrator = Supervisor(run_mode="DAEMON", enable_command_interface=True, command_zmq_address={address})
        orchestrator.register_agent(Waits, "a")
        orchestrator.start()
        child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(1000,))
        child.start()
        orchestrator.lifecycle_manager.entry("a").wait(AgentState.RUNNING)
        say(child.pid)
        say(orchestrator.command_interface.address)
        orchestrator.join()
        """,
    ) as running:
        agent, child, where = psutil.Process(int(line(running))), psutil.Process(int(line(running))), line(running)
        try:
            # When
            running.kill()
            running.wait(LIMIT)
            # Then
            until(lambda: dead(agent))
            assert not dead(child)
            with pytest.raises(Unreachable):
                CommandClient(where)
        finally:
            child.kill()


def test_a_program_that_just_ends_takes_its_agents_along(tmp_path: Path) -> None:
    with program(
        tmp_path,
        """
        orchestrator.register_agent(Waits, "a")
        orchestrator.start()
        orchestrator.lifecycle_manager.entry("a").wait("RUNNING", timeout=60)
        """,
    ) as running:
        agent = psutil.Process(int(line(running)))
        assert running.wait(LIMIT) == 0
        until(lambda: dead(agent))


def test_what_a_killed_program_has_left_behind_is_killed_at_the_next_start(tmp_path: Path) -> None:
    # Given a program all of whose processes were killed at once, and one that was on its own
    with program(
        tmp_path,
        """
        orchestrator.register_agent(CommandAgent, "a", CommandAgent.Config(command=[sys.executable, "-c",
            "import os, time; os.setpgid(0, 0); print('up', flush=True); time.sleep(1000)"]))
        orchestrator.register_agent(Waits, "b")
        orchestrator.start()
        entry = orchestrator.lifecycle_manager.entry("a")
        entry.wait("RUNNING", timeout=60)
        say(entry.pid)
        orchestrator.join()
        """,
    ) as running:
        line(running), line(running)
        notes = list(Path(os.environ["TENUTO_RUN_DIR"]).glob(f"{running.pid}-*.processes"))
        processes = psutil.Process(running.pid).children(recursive=True)
        orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"], start_new_session=True)
        with notes[0].open("a") as file:  # as an agent elsewhere than on Linux, which nobody kills
            file.write(f"{orphan.pid} {psutil.Process(orphan.pid).create_time():.3f}\n")
            file.write(f"{os.getpid()} 12345.000\n")  # an id that was used again: not ours to kill
        running.kill()
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # it has followed already
                process.kill()
        running.wait()
    # When another one starts in the same folder
    with program(tmp_path, "orchestrator.start(); orchestrator.stop(); say('over')") as following:
        while line(following) != "over":
            continue
    # Then the orphan is dead, and the notes are gone
    assert orphan.wait(LIMIT) == -signal.SIGKILL
    assert not notes[0].exists()


def test_many_clients_do_not_end_it_by_taking_all_descriptors(tmp_path: Path) -> None:
    with program(
        tmp_path,
        """
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (80, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        orchestrator = Supervisor(run_mode="DAEMON", enable_command_interface=True)
        orchestrator.start()
        say(orchestrator.command_interface.address)
        orchestrator.join()
        """,
    ) as running:
        # Given
        where = line(running)
        with ExitStack() as stack:
            for _ in range(200):
                client = stack.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(where.removeprefix("ipc://"))
            # When
            with CommandClient(where, timeout=LIMIT) as asking:
                # Then
                assert asking.request("ps") == []
        assert running.poll() is None
