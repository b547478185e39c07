"""A short storm of each kind, as part of the ordinary tests. `make chaos` runs the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.places import FilePlace
from tests.chaos.storm import Settings, run_storm
from tests.chaos.variants import VARIANTS
from tests.chaos.variants.base import Size

pytestmark = pytest.mark.chaos

_TASKS = {"steps": 250, "goals": 80, "cancel": 80, "waits": 60, "once": 60, "sql": 60, "schedules": 16}


def _quiet(executions: int, expected: int, words: str) -> None:
    """No progress bar inside the tests."""


@pytest.mark.parametrize("name", _TASKS)
async def test_a_storm_leaves_everything_done_once_and_nothing_behind(name: str, tmp_path: Path) -> None:
    size = Size(seed=20_260, tasks=_TASKS[name], steps=4)
    settings = Settings(size, workers=3, seconds=200, lease=1.0, blows=5, stubborn=1)
    report = await run_storm(VARIANTS[name], settings, FilePlace(tmp_path), tmp_path / name, _quiet)
    assert report.violations == []
    assert report.counts["executions"] > 0
