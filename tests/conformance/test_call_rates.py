"""Rates of calls: units of a limit taken with a reservation, given back where that is safe, and keys that are slow."""

from __future__ import annotations

from collections import deque
from random import Random

import pytest

from tenuto.errors import InvalidInput
from tenuto.tasks.money import NOTHING, Amount, Refusal, RefusalKind, Reserve
from tenuto.tasks.outcome import Answer
from tests.conformance.stage import START, Stage, spec
from tests.conformance.till import Till

MINUTE = 60_000
ONE = Amount(requests=1)


@pytest.fixture
def till(stage: Stage) -> Till:
    return Till(stage)


async def refusal(till: Till, call: str, units: int, key: str = "tpm") -> Refusal | None:
    """Why a reservation of so many units is refused, by a task of its own."""
    return (await till.reserve(await till.running(), call, NOTHING, rates=((key, units),))).refused


async def test_a_call_takes_units_of_a_rate(stage: Stage, till: Till) -> None:
    # Given 60 units a minute, of which 10 may come at once
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    assert await refusal(till, "a", 6) is None
    # When there is room for 4 and 5 are asked for
    refused = await refusal(till, "b", 5)
    # Then it comes in a second
    assert refused == Refusal("b", "tpm", RefusalKind.RATE, START, START + 1_000)
    assert await refusal(till, "b", 4) is None
    stage.clock.move(999)
    assert await refusal(till, "c", 1) is not None
    stage.clock.move(1)
    assert await refusal(till, "c", 1) is None


async def test_more_units_than_the_burst_are_taken_when_nothing_is_owed(stage: Stage, till: Till) -> None:
    # Given 60 units a minute, of which 10 may come at once, and 1 is taken
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    assert await refusal(till, "a", 1) is None
    # When 25 are asked for
    refused = await refusal(till, "b", 25)
    # Then they come when that one is paid for
    assert refused == Refusal("b", "tpm", RefusalKind.RATE, START, START + 1_000)
    stage.clock.move(1_000)
    assert await refusal(till, "b", 25) is None
    # And what comes next waits until no more of them are owed than the burst leaves
    refused = await refusal(till, "c", 1)
    assert refused is not None
    assert refused.retry_at == START + 1_000 + (25 - 10 + 1) * 1_000


async def test_a_minute_holds_the_rate_and_one_call_however_large_calls_are(stage: Stage, till: Till) -> None:
    # Given 60 units a minute, and calls that are each larger than the burst
    await stage.limit("tpm", rate=60, period=MINUTE)
    random, used = Random(1), list[tuple[int, int]]()
    # When they come as fast as they may for five minutes
    while stage.clock.now < START + 5 * MINUTE:
        units = random.randint(5, 40)
        refused = await refusal(till, "c", units)
        if refused is None:
            used.append((stage.clock.now, units))
        else:
            assert refused.retry_at is not None
            stage.clock.now = refused.retry_at
    # Then no minute holds more than its 60 and the call that it ends with, and hardly any is lost
    for first, (begin, _) in enumerate(used):
        minute = [units for at, units in used[first:] if at < begin + MINUTE]
        assert sum(minute) <= 60 + 40
    assert sum(units for _, units in used) >= 0.95 * 300


async def test_all_rates_need_room_or_nothing_is_taken(stage: Stage, till: Till) -> None:
    await stage.limit("rpm", rate=60, period=MINUTE, burst=1)
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("rpm", 1), ("tpm", 5)))
    assert not await till.granted(held, "b", ONE, rates=(("tpm", 5), ("rpm", 1)))
    assert await till.granted(held, "c", ONE, rates=(("tpm", 5),))


async def test_a_key_without_a_rate_limits_nothing(stage: Stage, till: Till) -> None:
    await stage.limit("slots", concurrency=1)
    assert await refusal(till, "a", 1_000_000, "slots") is None
    assert await refusal(till, "b", 1_000_000, "unknown") is None
    await stage.limit("tpm", rate=1, period=MINUTE)
    assert await refusal(till, "c", 0) is None


async def test_a_repeated_reservation_takes_its_units_once(stage: Stage, till: Till) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    for _ in range(3):
        assert await till.granted(held, "a", ONE, rates=(("tpm", 5),))
    assert await till.granted(held, "b", ONE, rates=(("tpm", 5),))


async def test_calls_and_claims_share_a_rate(stage: Stage, till: Till) -> None:
    held = await till.running()
    await stage.limit("api", rate=60, period=MINUTE, burst=2)
    await stage.add(spec("t0", limits=("api",), agent="x"), spec("t1", limits=("api",), agent="x"))
    assert await till.granted(held, "a", ONE, rates=(("api", 1),))
    worker = stage.worker("x")
    assert await worker.ids() == ["t0"]
    assert not await till.granted(held, "b", ONE, rates=(("api", 1),))
    stage.clock.move(1_000)
    assert await worker.ids() == ["t1"]


# -- given back --------------------------------------------------------------------------------------------


async def test_units_that_were_not_used_are_given_back(stage: Stage, till: Till) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 10),))
    assert await refusal(till, "b", 7) is not None
    await till.settle(held, "a", ONE, rates=(("tpm", 3),))
    assert await refusal(till, "b", 8) is not None
    assert await refusal(till, "b", 7) is None


async def test_only_as_many_are_given_back_as_time_has_not_given_back_already(stage: Stage, till: Till) -> None:
    # Given 10 units taken, of which 4 seconds have brought 4 back
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 10),))
    stage.clock.move(4_000)
    # When none was used
    await till.settle(held, "a", NOTHING, rates=(("tpm", 0),))
    # Then all 10 are there, and not 14
    assert await refusal(till, "b", 10) is None
    assert await refusal(till, "c", 1) is not None


async def test_the_part_of_a_unit_that_time_has_not_brought_back_is_given_back(stage: Stage, till: Till) -> None:
    # Given the only call of a minute, of which half a second is over
    await stage.limit("rpm", rate=1, period=MINUTE)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("rpm", 1),))
    stage.clock.move(500)
    # When it was not sent, then another one is at once, and no third one
    await till.settle(held, "a", NOTHING, rates=(("rpm", 0),))
    assert await refusal(till, "b", 1, "rpm") is None
    refused = await refusal(till, "c", 1, "rpm")
    assert refused is not None
    assert refused.retry_at == START + 500 + MINUTE


async def test_what_others_gave_back_shortens_the_time_in_which_that_is_safe(stage: Stage, till: Till) -> None:
    # Given two calls, of which the first gives all back, and a third that comes when the second is long paid for
    await stage.limit("tpm", rate=60, period=MINUTE, burst=100)
    held = await till.running()
    for call, units in (("a", 50), ("b", 30)):
        assert await till.granted(held, call, ONE, rates=(("tpm", units),))
    await till.settle(held, "a", NOTHING, rates=(("tpm", 0),))
    stage.clock.move(40_000)
    assert await till.granted(held, "c", ONE, rates=(("tpm", 10),))
    # When the second one gives back what it did not use
    stage.clock.move(1_000)
    await till.settle(held, "b", NOTHING, rates=(("tpm", 0),))
    # Then what the third one has taken stays taken
    assert await refusal(till, "d", 92) is not None
    assert await refusal(till, "d", 91) is None


async def test_units_beyond_those_reserved_are_owed(stage: Stage, till: Till) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 2),))
    await till.settle(held, "a", ONE, rates=(("tpm", 15),))
    refused = await refusal(till, "b", 1)
    assert refused is not None
    assert refused.retry_at == START + 6_000


async def test_a_settlement_that_names_no_rate_gives_nothing_back(stage: Stage, till: Till) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 10),))
    await till.settle(held, "a", ONE)
    assert await refusal(till, "b", 1) is not None


@pytest.mark.parametrize("change", ["other rate", "defined anew", "dropped"])
async def test_nothing_is_given_back_to_another_definition(stage: Stage, till: Till, change: str) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 10),))
    if change == "other rate":
        await stage.limit("tpm", rate=120, period=MINUTE, burst=10)
    else:
        assert await stage.store.drop_limit("tpm")
    if change == "defined anew":
        await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
        assert await refusal(till, "b", 10) is None
    await till.settle(held, "a", NOTHING, rates=(("tpm", 0),))
    stage.clock.move(600)
    refused = await refusal(till, "c", 1)
    assert (refused is None) == (change == "dropped")


async def test_what_is_given_back_wakes_tasks_behind_the_limit(stage: Stage, till: Till) -> None:
    await stage.limit("api", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("api", 10),))
    await stage.add(spec("t0", limits=("api",), agent="x"))
    worker = stage.worker("x")
    assert await worker.ids() == []
    await till.settle(held, "a", NOTHING, rates=(("api", 9),))
    assert await worker.ids() == ["t0"]


@pytest.mark.parametrize("seed", range(6))
async def test_no_window_ever_holds_more_than_the_rate_and_the_burst(stage: Stage, till: Till, seed: int) -> None:
    """However calls are reserved, settled and given back, what was really used stays within the limit."""
    # Given 100 units in ten seconds, 30 at once
    random = Random(seed)
    rate, period, burst = 100, 10_000, 30
    await stage.limit("tpm", rate=rate, period=period, burst=burst)
    held = await till.running()
    open_calls: deque[tuple[str, int, int]] = deque()
    used: list[tuple[int, int]] = []
    # When calls of all sizes come, and are settled in any order with less than they took
    for number in range(250):
        stage.clock.move(random.choice((0, 20, 100, 400)))
        units = random.randint(1, burst)
        if await till.granted(held, f"c{number}", ONE, rates=(("tpm", units),)):
            open_calls.append((f"c{number}", stage.clock.now, units))
        if open_calls and random.random() < 0.6:
            open_calls.rotate(random.randint(0, 3))
            call, at, units = open_calls.popleft()
            actual = random.randint(0, units)
            used.append((at, actual))
            await till.settle(held, call, ONE, rates=(("tpm", actual),))
    used += [(at, units) for _, at, units in open_calls]
    # Then
    used.sort()
    for first, (begin, _) in enumerate(used):
        total = 0
        for at, units in used[first:]:
            total += units
            assert total <= burst + rate * (at - begin) / period + 1e-6
    assert sum(units for _, units in used) > 100


# -- slow --------------------------------------------------------------------------------------------------


async def test_a_slow_key_grants_nothing_until_its_time_is_over(stage: Stage, till: Till) -> None:
    assert await stage.store.slow("rpm", 5_000) == START + 5_000
    refused = await refusal(till, "a", 1, "rpm")
    assert refused == Refusal("a", "rpm", RefusalKind.SLOW, START, START + 5_000)
    assert await refusal(till, "a", 1, "other") is None
    stage.clock.move(5_000)
    assert await refusal(till, "a", 1, "rpm") is None


async def test_a_pause_is_made_longer_but_not_shorter(stage: Stage, till: Till) -> None:
    assert await stage.store.slow("rpm", 5_000) == START + 5_000
    assert await stage.store.slow("rpm", 1_000) == START + 5_000
    assert await stage.store.slow("rpm", 9_000) == START + 9_000
    stage.clock.move(8_999)
    assert await refusal(till, "a", 0, "rpm") is not None


async def test_a_slow_key_keeps_what_its_rate_has_used(stage: Stage, till: Till) -> None:
    await stage.limit("tpm", rate=60, period=MINUTE, burst=10)
    held = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("tpm", 10),))
    await stage.store.slow("tpm", 2_000)
    await till.settle(held, "a", ONE, rates=(("tpm", 8),))
    stage.clock.move(2_000)
    assert await refusal(till, "b", 5) is not None
    assert await refusal(till, "b", 4) is None


async def test_a_pause_without_a_key_is_refused(stage: Stage) -> None:
    with pytest.raises(InvalidInput):
        await stage.store.slow("", 1_000)


async def test_a_call_needs_its_budget_before_its_rate(stage: Stage, till: Till) -> None:
    await stage.limit("rpm", rate=1, period=MINUTE)
    held = worker, lease = await till.running()
    assert await till.granted(held, "a", ONE, rates=(("rpm", 1),))
    reserves = (Reserve("b", ONE), Reserve("c", ONE, rates=(("rpm", 1),)))
    assert (await worker.record(lease, reserves=reserves)).answer is Answer.REFUSED
    assert [entry.call for entry in await till.ledger(lease.task_id)] == ["a"]
