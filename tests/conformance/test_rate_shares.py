"""Owners share a rate: who has got the least goes next, and who does not come back holds nobody up for long."""

from __future__ import annotations

import pytest

from tenuto.stores.rules.shares import GRACE
from tenuto.tasks.money import NOTHING, Refusal, RefusalKind
from tests.conformance.stage import START, Stage
from tests.conformance.till import Till

SECOND = 1_000


class Owners:
    """Two owners with a task each, at a rate of one call a second."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.till = stage, Till(stage)
        self._calls = 0

    async def begin(self, *owners: str) -> Owners:
        await self.stage.limit("rpm", rate=60, period=60 * SECOND)
        self._held = {owner: await self.till.running(owner=owner) for owner in owners}
        return self

    async def ask(self, owner: str, units: int = 1) -> Refusal | None:
        """Why a new call of this owner is refused."""
        self._calls += 1
        recorded = await self.till.reserve(self._held[owner], f"c{self._calls}", NOTHING, rates=(("rpm", units),))
        return recorded.refused


@pytest.fixture
async def owners(stage: Stage) -> Owners:
    """One has just got a call, both have been refused, and then the first one was quicker again."""
    owners = await Owners(stage).begin("quick", "slow")
    assert await owners.ask("quick") is None
    for owner in ("slow", "quick"):
        refused = await owners.ask(owner)
        assert refused is not None
        assert refused.retry_at == START + SECOND
    stage.clock.move(SECOND)
    assert await owners.ask("quick") is None
    assert await owners.ask("slow") is not None
    assert await owners.ask("quick") is not None
    stage.clock.move(SECOND)
    return owners


async def test_the_next_room_is_for_the_owner_who_has_got_the_least(stage: Stage, owners: Owners) -> None:
    # When the one who has got more comes first
    now = stage.clock.now
    refused = await owners.ask("quick")
    # Then there is room, but not for it
    assert refused == Refusal(refused.call if refused else "", "rpm", RefusalKind.RATE, now, now + GRACE + 1)
    assert await owners.ask("slow") is None
    assert await owners.ask("quick") is not None


async def test_who_does_not_come_back_holds_others_up_for_a_moment_only(stage: Stage, owners: Owners) -> None:
    stage.clock.move(GRACE)
    assert await owners.ask("quick") is not None
    stage.clock.move(1)
    assert await owners.ask("quick") is None


async def test_once_nobody_waits_what_was_is_forgotten(stage: Stage, owners: Owners) -> None:
    assert await owners.ask("slow") is None
    stage.clock.move(10 * SECOND)
    assert await owners.ask("quick") is None
    stage.clock.move(SECOND)
    assert await owners.ask("quick") is None


async def test_a_limit_that_is_defined_anew_has_no_line(stage: Stage, owners: Owners) -> None:
    assert await stage.store.drop_limit("rpm")
    await stage.limit("rpm", rate=60, period=60 * SECOND)
    assert await owners.ask("quick") is None


async def test_callers_of_one_owner_do_not_wait_for_each_other(stage: Stage) -> None:
    owners = await Owners(stage).begin("one")
    assert await owners.ask("one") is None
    for _ in range(3):
        assert await owners.ask("one") is not None
    for _ in range(3):
        stage.clock.move(SECOND)
        assert await owners.ask("one") is None
