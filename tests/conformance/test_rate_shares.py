"""Owners share a rate: who has got the least goes next, and who does not come back holds nobody up for long.

Calls that wait are told an instant each, so that they do not all come back at once.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tenuto.stores.rules.shares import GRACE
from tenuto.tasks.clock import Millis
from tenuto.tasks.money import NOTHING, Refusal, RefusalKind
from tests.conformance.engines import ENGINES
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

    async def ask(self, owner: str, units: int = 1, key: str = "rpm") -> Refusal | None:
        """Why a new call of this owner is refused."""
        self._calls += 1
        recorded = await self.till.reserve(self._held[owner], f"c{self._calls}", NOTHING, rates=((key, units),))
        return recorded.refused

    async def told(self, owner: str, units: int = 1, key: str = "rpm") -> Millis:
        """Milliseconds after which a new call of this owner is told to come back; 0: it was granted."""
        refused = await self.ask(owner, units, key)
        if refused is None:
            return 0
        assert refused.retry_at is not None
        return refused.retry_at - self.stage.clock.now


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


# -- an instant for each ------------------------------------------------------------------------------------


@pytest.fixture
async def one(stage: Stage) -> Owners:
    """One owner, whose first call has just been granted."""
    one = await Owners(stage).begin("one", "other")
    assert await one.ask("one") is None
    return one


async def test_each_call_that_waits_is_told_an_instant_of_its_own(stage: Stage, one: Owners) -> None:
    # When several calls are refused, then each is told when all before it will have come
    assert [await one.told("one") for _ in range(4)] == [1_000, 2_000, 3_000, 4_000]
    # And whoever comes then is granted, one after the other
    for _ in range(4):
        stage.clock.move(SECOND)
        assert await one.told("one") == 0
    # And nobody waits any more
    assert await one.told("one") == 1_000


async def test_who_is_a_little_too_early_keeps_its_place(stage: Stage, one: Owners) -> None:
    # Given three calls that wait, of which the first comes late
    assert [await one.told("one") for _ in range(3)] == [1_000, 2_000, 3_000]
    stage.clock.move(1_300)
    assert await one.told("one") == 0
    # When the second comes when it was told to, before there is room
    stage.clock.move(700)
    # Then it is told the first instant with room, since nobody else comes for that
    assert await one.told("one") == 300


async def test_a_gap_is_for_the_next_one_who_asks(stage: Stage, one: Owners) -> None:
    # Given two calls that wait, of which the first does not come
    assert [await one.told("one") for _ in range(2)] == [1_000, 2_000]
    stage.clock.move(1_500)
    # When new ones come, then the first gets the room, and the one after it is behind the second
    assert await one.told("one") == 0
    assert await one.told("one") == 2_000
    # And the second, which finds no room when it comes, is told the next
    stage.clock.move(500)
    assert await one.told("one") == 500


async def test_a_large_call_keeps_those_behind_it_waiting_for_longer(one: Owners) -> None:
    # As long as nobody knows what calls use, it is a twentieth
    assert [await one.told("one", units) for units in (1, 100, 1, 1)] == [1_000, 2_000, 7_000, 8_000]


async def test_owners_have_lines_of_their_own(one: Owners) -> None:
    assert [await one.told("one") for _ in range(3)] == [1_000, 2_000, 3_000]
    assert [await one.told("other") for _ in range(2)] == [1_000, 2_000]


async def test_more_calls_wait_than_are_known(one: Owners) -> None:
    assert [await one.told("one") for _ in range(100)] == [SECOND * number for number in range(1, 101)]


async def test_after_a_pause_they_come_one_by_one(stage: Stage, one: Owners) -> None:
    # When a provider has asked for a pause, then those who wait are told places behind it
    await stage.store.slow("rpm", 10_000)
    assert [await one.told("one") for _ in range(3)] == [10_000, 11_000, 12_000]
    # And under a key that nobody has limited they come one by one all the same
    await stage.store.slow("free", 10_000)
    told = [await one.told("one", key="free") for _ in range(40)]
    assert told[0] == 10_000
    assert len(set(told)) == 40
    assert told[-1] <= 11_000
    # And whoever comes then is granted
    stage.clock.move(10_000)
    assert [await one.told("one", key="free") for _ in range(2)] == [0, 0]


async def test_the_line_is_as_close_as_what_calls_really_use(stage: Stage) -> None:
    # Given calls that use a tenth of what they reserve, while others wait
    await stage.limit("tpm", rate=60, period=60 * SECOND, burst=100)
    till = Till(stage)
    held = await till.running()
    for number in range(60):
        assert await till.granted(held, f"c{number}", NOTHING, rates=(("tpm", 100),))
        assert not await till.granted(held, f"w{number}", NOTHING, rates=(("tpm", 11),))
        await till.settle(held, f"c{number}", NOTHING, rates=(("tpm", 10),))
        stage.clock.move(10 * SECOND)
    assert await till.granted(held, "last", NOTHING, rates=(("tpm", 100),))
    # When more come than there is room for
    told = []
    for number in range(3):
        refused = (await till.reserve(held, f"d{number}", NOTHING, rates=(("tpm", 100),))).refused
        assert refused is not None
        assert refused.retry_at is not None
        told.append(refused.retry_at - stage.clock.now)
    # Then each waits for what those before it will use, and not for what they reserve
    assert told[0] == pytest.approx(100_000, rel=0.05)
    assert told[1] - told[0] == pytest.approx(10_000, rel=0.05)
    assert told[2] - told[1] == pytest.approx(10_000, rel=0.05)


@pytest.mark.parametrize("seed", range(3))
async def test_every_engine_tells_the_same_instants(stage: Stage, tmp_path: Path, seed: int) -> None:
    # Given an engine and the reference model, at the same time, with the same limits
    model = ENGINES["memory"].make(tmp_path / "model", stage.clock)
    await model.open()
    names, keys, chance = ("one", "two", "three"), ("rpm", "tpm", "free"), Random(seed)
    both = [Stage(stage.store, stage.clock), Stage(model, stage.clock)]
    tills = [Till(each) for each in both]
    for each in both:
        await each.limit("rpm", rate=700, period=60 * SECOND, burst=3)
        await each.limit("tpm", rate=7_000, period=60 * SECOND, burst=900)
    held = [{name: await till.running(owner=name) for name in names} for till in tills]
    granted, refused = list[tuple[str, str, int]](), 0
    # When owners ask for all kinds of units, are slowed down, and settle what they were granted
    for number in range(250):
        stage.clock.move(chance.choice((0, 0, 7, 40, 300)))
        name, key = chance.choice(names), chance.choice(keys)
        units, used = (chance.choice((90, 250, 811)) if key == "tpm" else 1), chance.random()
        if number % 50 == 25:
            assert len({await each.store.slow(key, 700) for each in both}) == 1
        told = [
            (await till.reserve(mine[name], f"c{number}", NOTHING, rates=((key, units),))).refused
            for till, mine in zip(tills, held, strict=True)
        ]
        # Then both say the same
        assert told[0] == told[1], number
        refused += told[0] is not None
        if told[0] is None:
            granted.append((name, f"c{number}", round(units * used)))
        if granted and chance.random() < 0.4:
            name, call, actual = granted.pop(0)
            for till, mine in zip(tills, held, strict=True):
                await till.settle(mine[name], call, NOTHING, rates=(("tpm", actual),))
    assert 50 < refused < 200
    await model.close()
