"""What worker processes find in a program that they import."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from types import ModuleType

import cloudpickle
import pytest

from tenuto.errors import InvalidInput
from tenuto.workers.main_script import MainScript, from_main, main_script
from tenuto.workers.portable import dumps_by_name

PROGRAM = """
import os.path as places, json
from sys import *

one, (two, *three) = 1, (2, 3)

def f():
    global made_later
    local = 1

class C:
    inner = 1

for turn in range(3):
    with open(__file__) as file:
        pass

if __name__ == "__main__":
    only_here = 1
    one = 2
else:
    elsewhere = 1
"""


def running(monkeypatch: pytest.MonkeyPatch, text: str, folder: Path) -> Path:
    """A program that runs in this process, as far as `main_script` can see."""
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    main = ModuleType("__main__")
    main.__file__ = str(path)
    main.__dict__.update(dict.fromkeys(NAMES.split()))
    monkeypatch.setitem(sys.modules, "__main__", main)
    return path


NAMES = "places json argv one two three f made_later C turn file only_here elsewhere"


def test_what_only_a_program_that_was_started_has_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = running(monkeypatch, PROGRAM, tmp_path)
    script = main_script()
    assert (script.module, script.path, script.problem) == (None, str(path.resolve()), "")
    assert set(NAMES.split()) - script.names == {"made_later", "only_here"}


@pytest.mark.parametrize("text", ["import os\nos.getcwd()\n", "def main(:\n"])
def test_a_program_without_a_guard_or_sense_is_not_imported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    running(monkeypatch, text, tmp_path)
    assert "program.py" in main_script().problem
    assert not main_script().names


def test_what_was_typed_in_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))
    assert "put it into a module" in main_script().problem


def test_it_is_imported_also_where_multiprocessing_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Given a process in which `multiprocessing` has set its own alias of the main module
    path = running(monkeypatch, "number = 7\nif __name__ == '__main__':\n    pass\n", tmp_path)
    main = sys.modules["__main__"]
    main.__dict__["number"] = lock = threading.Lock()
    monkeypatch.setitem(sys.modules, "__mp_main__", main)
    # When it reads something that lies in the main module, and has no value that could be sent
    script = main_script()
    found = cloudpickle.loads(dumps_by_name([lock], script))
    # Then that is taken from the module as it is imported
    assert (script.path, found) == (str(path.resolve()), [7])
    assert sys.modules["__mp_main__"].number == 7


def test_a_program_that_starts_an_orchestrator_when_it_is_imported_is_told_so(tmp_path: Path) -> None:
    path = tmp_path / "program.py"
    path.write_text("from tenuto import Orchestrator\nOrchestrator(store='memory://').start()\n", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"cannot import .*program\.py: .* starts an orchestrator .* belongs under"):
        from_main(MainScript(None, str(path)), b"")
