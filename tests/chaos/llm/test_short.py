"""Short crash matrices, and a shared rate, as part of the ordinary tests.

`make chaos ARGS="--llm"` kills at every single request. `make chaos ARGS="--rates"` takes longer, and says how
much of the rate was used.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.testing import CrashPoint
from tests.chaos.llm.matrix import ENGINES, FORMS, run_matrix
from tests.chaos.llm.rates import SHORT, run_rates

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


def _quiet(runs: int) -> None:
    """No progress bar inside the tests."""


@pytest.mark.parametrize(
    ("engine", "form", "every"),
    [
        ("sqlite", "whole", 13),
        ("redis", "whole", 22),
        ("postgres", "whole", 22),
        ("sqlite", "streamed", 22),
        ("sqlite", "killed twice", 22),
    ],
)
async def test_an_agent_killed_anywhere_pays_for_no_recorded_response_twice(
    engine: str, form: str, every: int, tmp_path: Path
) -> None:
    report = await run_matrix(engine, FORMS[form], tmp_path, every=every, seen=_quiet)
    assert report.violations == []
    assert report.crashes.keys() == set(CrashPoint)
    assert report.lost >= report.crashes[CrashPoint.HTTP_ASKED] + report.crashes[CrashPoint.HTTP_ANSWERED] > 0


async def test_processes_that_share_a_rate_keep_to_it_and_to_a_pause(tmp_path: Path) -> None:
    report = await run_rates(ENGINES["sqlite"](tmp_path), SHORT)
    assert report.violations == []
