"""Sudden deaths in the middle of commits: what was answered is there, what was not is there whole or not at all."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tenuto.stores.base import TaskFilter
from tenuto.stores.sqlite import SqliteStore
from tenuto.tasks.task import Kind
from tests.integration.faults.children import NODES, ROOT, arguments

pytestmark = pytest.mark.chaos

_DEATHS = 8


def _submit_and_die(path: Path, first: int, answers: int) -> int:
    """Kills a submitting process right after so many answers; up to which goal it was answered."""
    child = subprocess.Popen(arguments("submit", path, f"{first}"), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    up_to = first
    with child.stdout:
        for _ in range(answers):
            up_to = json.loads(child.stdout.readline())["up_to"]
        child.kill()
        for line in child.stdout:  # what it has said between the last look and its death
            up_to = json.loads(line)["up_to"] if line.endswith("\n") else up_to
    child.wait()
    return up_to


async def _goals(path: Path) -> set[str]:
    """The goals in the store, which must be sound, and each of them whole."""
    store = SqliteStore(path)
    await store.open()
    try:
        assert await store.check() == []
        page = await store.tasks(TaskFilter(kind=Kind.GOAL), limit=10_000)
        assert sum((await store.stats()).values()) == len(page.tasks) * NODES
        return {task.id for task in page.tasks}
    finally:
        await store.close()


async def test_whatever_was_answered_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    rng = random.Random(7)
    first = 0
    answered: set[str] = set()
    for _ in range(_DEATHS):
        up_to = _submit_and_die(path, first, rng.randint(1, 12))
        answered |= {f"g{number}" for number in range(first, up_to)}
        assert answered <= await _goals(path)
        first = up_to + 3


async def test_a_log_that_ends_anywhere_loses_only_its_end(tmp_path: Path) -> None:
    """A power cut leaves any part of the log's last writes: cut off, or with garbage in place of them."""
    path = tmp_path / "store.db"
    _submit_and_die(path, 0, 25)
    log = path.with_name("store.db-wal").read_bytes()
    rng = random.Random(11)
    counts: list[int] = []
    for number, keep in enumerate(sorted(rng.randrange(len(log) // 2, len(log)) for _ in range(8))):
        folder = tmp_path / f"after-{number}"
        folder.mkdir()
        shutil.copy(path, folder / "store.db")
        tail = rng.randbytes(4_096) if number % 2 else b""
        (folder / "store.db-wal").write_bytes(log[:keep] + tail)
        goals = await _goals(folder / "store.db")
        # A prefix of what was committed, never something from the middle missing.
        assert {f"g{each}" for each in range(len(goals) - 3)} <= goals
        counts.append(len(goals))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]
