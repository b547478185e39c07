"""Notes of processes that an orchestrator has left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.supervisor.orphans import ProcessNotes, kill_orphans

LIMIT = 20


@pytest.fixture
def left() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads a group, as agents do."""
    with subprocess.Popen(["sleep", "1000"], process_group=0) as process:
        yield process
        process.kill()


@pytest.fixture
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: subprocess.Popen[bytes]) -> Path:
    """Notes of an orchestrator that is gone; it had made one process."""
    monkeypatch.setenv("TENUTO_RUN_DIR", str(tmp_path))
    ProcessNotes().note(left.pid)
    (path,) = tmp_path.iterdir()
    own, *others = path.read_text().splitlines(keepends=True)
    path.write_text("".join([own.replace(str(os.getpid()), "1", 1), *others]))
    return path


def test_what_is_noted_is_killed_although_the_last_note_was_cut_off(notes: Path, left: subprocess.Popen[bytes]) -> None:
    # Given: the disk was full
    notes.write_text(notes.read_text() + "4")
    # When
    assert kill_orphans() == [left.pid]
    # Then
    assert left.wait(LIMIT) == -9
    assert not notes.exists()


def test_notes_of_other_people_kill_nobody(
    notes: Path, left: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    assert kill_orphans() == []
    assert left.poll() is None
    assert notes.exists()
