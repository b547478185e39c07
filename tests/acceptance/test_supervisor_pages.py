"""The samples of the pages on the supervisor, verbatim but for the import line.

Each runs in a script without a `__main__` guard, as on the page: `FRAME` gives the names that the page takes for
granted, and what follows the sample shows what it did.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from pathlib import Path

LIMIT = 180
FRAME = """
    import logging, time
    from tenuto import (
        BaseProcessAgent, BaseThreadAgent, BucketRingStore, EventStore, HeartbeatPlugin, Orchestrator,
        OrchestratorEvent, PeriodicProcessAgent, RunMode,
    )

    logger = logging.getLogger("page")
    print("the script runs", flush=True)

    class MyAgent(BaseProcessAgent):
        def execute(self):
            print("worked\\n", end="", flush=True)  # in one piece, beside others
"""


def run(tmp_path: Path, *parts: str) -> list[str]:
    """The lines that a script prints which consists of the frame and `parts`."""
    script = tmp_path / "script.py"
    script.write_text("\n".join(textwrap.dedent(part) for part in (FRAME, *parts)))
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert ran.returncode == 0, ran.stderr
    first, *lines = ran.stdout.splitlines()
    assert first == "the script runs"
    assert first not in lines  # no process imports the main module again
    return lines


def test_basic_setup(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        from tenuto import Orchestrator

        orchestrator = Orchestrator()
        orchestrator.register_agent(MyAgent, "worker")
        orchestrator.start()
        orchestrator.join()  # Blocks until all agents complete
        """,
        """
        config = orchestrator.config
        print(config.max_workers, orchestrator.run_mode, config.enable_command_interface, config.history_max_events)
        """,
    )
    assert lines == ["worked", "10 STOP_ON_EMPTY False 1000"]


PRODUCTION = """
    config = Orchestrator.Config(
        max_workers=20,
        run_mode=RunMode.DAEMON,
        enable_command_interface=True,
        command_zmq_address="tcp://127.0.0.1:5570",
        allowed_commands="monitoring",  # Read-only commands
        history_max_events=5000
    )

    orchestrator = Orchestrator(config=config)

    # Use CLI to monitor: pyorchestrate status
"""


def test_production_setup_with_monitoring(tmp_path: Path) -> None:
    # Given the sample on a port that is free on this machine
    script = tmp_path / "script.py"
    sample = textwrap.dedent(PRODUCTION).replace(":5570", ":0")
    end = """
        class Service(BaseThreadAgent):
            def execute(self):
                self.wait()

        orchestrator.register_agent(Service, "service")
        orchestrator.start()
        print(orchestrator.command_interface.address, flush=True)
        orchestrator.run()
    """
    script.write_text("\n".join([textwrap.dedent(FRAME), sample, textwrap.dedent(end)]))
    with subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "the script runs\n"
        address = running.stdout.readline().strip()

        def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "tenuto", *arguments, "--address", address]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LIMIT, check=False)

        # When it is watched, it answers; when it is told to do something, it does not
        status, stop = ask("status", "service"), ask("stop", "service")
        running.send_signal(signal.SIGTERM)
        assert running.wait(LIMIT) == 0
    assert status.returncode == 0, status.stderr
    assert "RUNNING" in status.stdout
    assert stop.returncode != 0
    assert "stop" in stop.stderr


def test_with_agent_dependencies(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        class Ordered(BaseProcessAgent):
            def setup(self):
                print(self.name, flush=True)

        DatabaseAgent = CacheAgent = APIAgent = Ordered
        """,
        """
        orchestrator = Orchestrator(
            config=Orchestrator.Config(max_workers=5)
        )

        # Register with dependencies
        orchestrator.register_agent(DatabaseAgent, "db")
        orchestrator.register_agent(CacheAgent, "cache")
        orchestrator.register_agent(APIAgent, "api")

        orchestrator.add_dependency("cache", ["db"])
        orchestrator.add_dependency("api", ["db", "cache"])

        orchestrator.start()
        # Starts in order: db → cache → api
        """,
        """
        orchestrator.join()
        """,
    )
    assert lines == ["db", "cache", "api"]


def test_custom_event_policies(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        # Keep only last 2 heartbeats per agent
        event_store = EventStore(
            capacity=1000,
            event_policies={
                "AGENT_HEARTBEAT": BucketRingStore(capacity=2)
            }
        )

        # Create orchestrator with custom event store
        orchestrator = Orchestrator()
        orchestrator.event_bus.event_store = event_store
        """,
        """
        class Beating(PeriodicProcessAgent):
            class Config(PeriodicProcessAgent.Config):
                execution_interval = 0.1
                limit = 15

            class Plugin(PeriodicProcessAgent.Plugin):
                heartbeat = HeartbeatPlugin(interval=0.05)

        for name in ("a", "b"):
            orchestrator.register_agent(Beating, name)
        orchestrator.simple_join()
        for name in ("a", "b"):
            beats = event_store.query(event_name="agent_heartbeat", agent_name=name)
            print(name, len(beats), beats[-1].number > 2)
        """,
    )
    assert lines == ["a 2 True", "b 2 True"]


def test_monitoring_agent_events_and_querying_the_history(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        class Failing(BaseProcessAgent):
            def execute(self):
                raise ValueError("no such table")

        orchestrator = Orchestrator()
        orchestrator.register_agent(Failing, "db")
        logging.basicConfig(format="%(message)s", stream=__import__("sys").stdout)
        """,
        """
        def on_agent_error(agent_name, error_message, **kwargs):
            logger.error(f"Agent {agent_name} failed: {error_message}")
            # Take corrective action

        orchestrator.event_bus.register_callback(
            OrchestratorEvent.AGENT_ERROR,
            on_agent_error
        )
        """,
        """
        orchestrator.start()
        orchestrator.join()
        """,
        """
        # Get recent agent errors
        errors = orchestrator.event_bus.event_store.query(
            event_name="AGENT_ERROR",
            limit=50
        )

        for error in errors:
            print(f"{error.agent_name}: {error.error_message}")
        """,
    )
    assert lines == ["Agent db failed: ValueError: no such table", "db: ValueError: no such table"]


def test_dynamic_agent_management(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        WorkerAgent = MyAgent
        orchestrator = Orchestrator(max_workers=3)
        orchestrator.register_agent(MyAgent, "first")
        """,
        """
        orchestrator.start()  # Start with initial agents

        # Later, add more agents
        for i in range(10):
            orchestrator.register_agent(WorkerAgent, f"worker_{i}")
            orchestrator.lifecycle_manager.start_agent(f"worker_{i}")
        """,
        """
        orchestrator.join()
        print(orchestrator.report())
        """,
    )
    assert lines.count("worked") == 11
    assert sum("TERMINATED" in line for line in lines) == 11


def test_several_agents_of_one_class(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        class FileWriterAgent(BaseProcessAgent):
            class Config(BaseProcessAgent.Config):
                path: str

            def execute(self):
                with open(self.config.path, "w") as file:
                    file.write(self.name)

        orchestrator = Orchestrator()
        orchestrator.register_agent(FileWriterAgent, "a", FileWriterAgent.Config(path="log_a.txt"))
        orchestrator.register_agent(FileWriterAgent, "b", custom_config=FileWriterAgent.Config(path="log_b.txt"))
        orchestrator.simple_join()
        print(open("log_a.txt").read(), open("log_b.txt").read())
        """,
    )
    assert lines == ["a b"]


def test_a_daemon_stays_without_agents_until_it_is_told_to_end(tmp_path: Path) -> None:
    lines = run(
        tmp_path,
        """
        import threading

        class Monitored(Orchestrator):
            class Config(Orchestrator.Config):
                run_mode = RunMode.DAEMON

        orchestrator = Monitored()
        orchestrator.register_agent(MyAgent, "worker")
        over = threading.Event()
        orchestrator.register_event(OrchestratorEvent.ALL_AGENTS_TERMINATED, over.set)
        orchestrator.start()
        over.wait(100)
        print(orchestrator.join(timeout=0.2), flush=True)
        threading.Timer(0.1, orchestrator.shutdown).start()
        print(orchestrator.join())
        """,
    )
    assert lines == ["worked", "False", "True"]
