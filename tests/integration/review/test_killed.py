"""The program killed in the middle of a review, as a power cut would, and started again."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tenuto.client import Client, TaskView
from tests.integration.review.trees import write

PACKAGES = 16
FUNCTION = (
    'def function_{0}(value):\n    """Say {0}."""\n    if value > {0}:\n        return value\n    return {0}\n\n\n'
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree whose reading takes some seconds, in many parcels."""
    text = '"""A module."""\n' + "".join(FUNCTION.format(number) for number in range(3_000))
    return write(tmp_path / "tree", {f"package_{number:02}/module.py": text for number in range(PACKAGES)})


def demo(tree: Path, store: str, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", "from tenuto.cli import main; main()", "demo"]
    return subprocess.Popen(
        [*command, "--path", str(tree), "--out", str(out), "--store", store, "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tree,
    )


async def tasks_of(store: str) -> list[TaskView]:
    async with Client(store) as client:
        return list(await client.list_tasks(goals=False, limit=1_000))


async def half_read(store: str, file: Path) -> list[TaskView]:
    """Waits until some parcels were read and others were not."""
    while True:
        await asyncio.sleep(0.05)
        tasks = await tasks_of(store) if await asyncio.to_thread(file.exists) else []
        parcels = [task for task in tasks if task.agent == "review.parcel"]
        if 0 < sum(task.status == "completed" for task in parcels) < len(parcels):
            return tasks


async def test_a_killed_review_goes_on_where_it_was_and_says_so(tree: Path, tmp_path: Path) -> None:
    file, out = tmp_path / "store.db", tmp_path / "report.md"
    store = f"sqlite:///{file}"

    # Given a review that is killed while it reads
    first = demo(tree, store, out)
    try:
        async with asyncio.timeout(120):
            await half_read(store, file)
    finally:
        first.kill()
        first.communicate()
    left = await tasks_of(store)
    done = {task.id: task.attempt for task in left if task.status == "completed"}
    assert not out.exists()

    # When it is started again
    second = demo(tree, store, out)
    printed, said = await asyncio.to_thread(second.communicate, timeout=150)

    # Then it says where it goes on, does nothing again that was done, and comes to its end
    assert second.returncode == 0, said
    assert f"resuming: {len(done)} of {len(left)} tasks were done" in said
    outcome = json.loads(printed)
    assert outcome["resumed"]
    assert outcome["metrics"]["totals"]["functions"] == PACKAGES * 3_000
    assert Path(outcome["report"]) == out
    assert out.read_text().startswith("# Review of tree\n")
    after = {task.id: task.attempt for task in await tasks_of(store)}
    assert {task_id: after[task_id] for task_id in done} == done
    assert len(after) == outcome["tasks"]
