"""What a crash may lose, in short. `make chaos ARGS="--losses"` measures for longer."""

from __future__ import annotations

import pytest

from tests.chaos.crashes import CRASHES
from tests.chaos.losses import measure_losses

pytestmark = pytest.mark.chaos


@pytest.mark.parametrize("setting", CRASHES)
async def test_no_more_is_lost_than_the_setting_says(setting: str) -> None:
    losses = await measure_losses(setting, 1.0)
    assert losses.violations == []
    assert losses.submitted > 0
    assert losses.completed > 0
