"""`tenuto --help` answers at once: what only some commands need is imported by those commands. Until the program has
begun, a signal ends it without a word."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def test_the_program_starts_without_what_its_commands_need() -> None:
    code = "import sys, tenuto.cli.app; print(*sorted(sys.modules), sep='\\n')"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    slow = {
        "apsw",
        "asyncio",
        "cloudpickle",
        "msgspec",
        "pydantic",
        "rich",
        "structlog",
        "tenuto.client",
        "tenuto.stores",
    }
    assert slow.isdisjoint(loaded)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize("module", ["typer", "tenuto/errors"])
def test_a_signal_while_the_program_starts_ends_it_silently(
    number: signal.Signals, code: int, module: str, tmp_path: Path
) -> None:
    # Given a library whose import is what the program is at when the signal comes
    hook = f"""
import importlib.abc, os, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module.replace("/", ".")!r}:
            os.kill(os.getpid(), {number.value})
sys.meta_path.insert(0, Finder())
"""
    (tmp_path / "sitecustomize.py").write_text(hook)
    # When it is started
    ended = subprocess.run(
        [sys.executable, "-m", "tenuto", "task", "list"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        check=False,
    )
    # Then it has ended, and said nothing
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", "")


def test_a_program_in_the_background_of_a_script_goes_on_at_ctrl_c(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-m", "tenuto", "--version"], env=environment, check=False)
    assert ended.returncode == 0
