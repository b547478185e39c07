"""What the storm rages over: one file per kind of work, each with what must be true of it afterwards."""

from __future__ import annotations

from tests.chaos.variants.base import Variant
from tests.chaos.variants.cancel import Cancel
from tests.chaos.variants.goals import Goals
from tests.chaos.variants.once import Once
from tests.chaos.variants.schedules import Schedules
from tests.chaos.variants.sql import Sql
from tests.chaos.variants.steps import Steps
from tests.chaos.variants.waits import Waits

__all__ = ["VARIANTS"]

VARIANTS: dict[str, Variant] = {
    each.name: each for each in (Steps(), Goals(), Cancel(), Waits(), Once(), Sql(), Schedules())
}
