"""The samples of docs/supervisor.md, as they stand there, in scripts that give them what they take for granted."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/supervisor.md"
LIMIT = 180


def sample(*words: str) -> str:
    """The one sample of the page that contains all of `words`."""
    found = [
        each
        for each in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
        if all(word in each for word in words)
    ]
    (text,) = found
    return str(text)


def start(tmp_path: Path, *parts: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text("\n".join(textwrap.dedent(part) for part in parts))
    return subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True)


def test_the_first_sample_runs_until_it_is_told_to_end(tmp_path: Path) -> None:
    connect = """
        class Client:
            def __init__(self, source):
                self.source = source

            def fetch(self):
                print(f"fetched {self.source}\\n", end="", flush=True)

            def close(self):
                print(f"closed {self.source}\\n", end="", flush=True)

        connect = Client
    """
    with start(tmp_path, connect, sample("class Importer")) as running:
        assert running.stdout is not None
        sources = ("https://example.org/news", "imap://example.org")
        assert sorted(running.stdout.readline().strip() for _ in sources) == [f"fetched {each}" for each in sources]
        running.send_signal(signal.SIGTERM)
        said, _ = running.communicate(timeout=LIMIT)
    assert running.returncode == 0
    assert sorted(said.splitlines()) == [f"closed {each}" for each in sources]


def test_a_manager_is_replaced_and_callbacks_are_called(tmp_path: Path) -> None:
    names = """
        from tenuto import BaseThreadAgent, Orchestrator, OrchestratorEvent, WorkerPoolScheduler

        class Failing(BaseThreadAgent):
            def execute(self):
                raise ValueError(f"it is {self.name}")

        def page_somebody(text):
            print(text)
    """
    agents = """
        orchestrator = MyOrchestrator(max_workers=1)
        for name in ("first", "second", "urgent"):
            orchestrator.register_agent(Failing, name)
    """
    end = """
        orchestrator.simple_join()
        print(MyOrchestrator().config.max_workers)
    """
    with start(tmp_path, names, sample("class UrgentFirst"), agents, sample("def on_error"), end) as running:
        said, _ = running.communicate(timeout=LIMIT)
    assert said.splitlines() == [
        "first: ValueError: it is first",
        "urgent: ValueError: it is urgent",
        "second: ValueError: it is second",
        "4",
    ]


def test_a_command_of_the_programs_own(tmp_path: Path) -> None:
    names = """
        from tenuto import Command, CommandClient, NotFound, Orchestrator, Parameter

        STOCK = ["flour"]
    """
    use = """
        orchestrator = Shop(enable_command_interface=True, run_mode="DAEMON")
        orchestrator.start()
        with CommandClient(orchestrator.command_interface.address) as client:
            print(client.request("order", {"article": "flour"}), client.request("order", ["flour"]))
            try:
                client.request("order", {"article": "snow"})
            except NotFound as error:
                print(error)
        orchestrator.shutdown()
    """
    with start(tmp_path, names, sample("def create_commands"), use) as running:
        said, _ = running.communicate(timeout=LIMIT)
    ordered = "{'ordered': 'flour'}"
    assert said.splitlines() == [f"{ordered} {ordered}", "there is no article 'snow'"]
