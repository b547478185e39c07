"""Short storms over engines with a server, which is killed and frozen, behind networks that fail. `make chaos` runs the
long ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.chaos.places import PLACES, open_place
from tests.chaos.share import run_share
from tests.chaos.storm import Settings, run_storm
from tests.chaos.variants import VARIANTS
from tests.chaos.variants.base import Size

pytestmark = pytest.mark.chaos


def _quiet(executions: int, expected: int, words: str) -> None:
    """No progress bar inside the tests."""


@pytest.mark.parametrize("engine", ["redis", "postgres"])
async def test_a_storm_over_server_and_network_leaves_everything_done_once(engine: str, tmp_path: Path) -> None:
    with contextlib.closing(open_place(engine, tmp_path)) as place:
        size = Size(seed=20_261, tasks=100, steps=4)
        settings = Settings(size, workers=3, seconds=200, lease=1.0, blows=3, stubborn=1, faults=place.faults)
        report = await run_storm(VARIANTS["steps"], settings, place, tmp_path / "steps", _quiet)
    assert report.violations == []
    assert {blow for blow in report.blows if blow in place.faults} == set(place.faults)


@pytest.mark.parametrize("engine", PLACES)
async def test_two_orchestrators_share_the_work_of_one_store(engine: str, tmp_path: Path) -> None:
    with contextlib.closing(open_place(engine, tmp_path)) as place:
        # Busy machines skew so short a run.
        shares = await run_share(place, tmp_path / "share", 4_000, 200, fair=0.9, together=0.8)
    assert shares.violations == []
