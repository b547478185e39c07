"""A short kill storm, as part of the ordinary tests. `make chaos` runs the long one."""

from __future__ import annotations

import pytest

from tests.chaos.supervisor.storm import Settings, run_supervisor_storm, summary

pytestmark = pytest.mark.chaos


def test_a_kill_storm_is_survived_with_every_death_told_once(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = Settings(seed=20_260, seconds=8, least=40, events=60_000, prompt=None)
    report = run_supervisor_storm(tmp_path_factory.mktemp("s"), settings)
    assert report.violations == [], summary(report)
    assert report.blows.total() > 20
    assert report.deaths.total() > 20
