"""A rate that several programs share: never exceeded in any window, and used to the full."""

from __future__ import annotations

import bisect
import heapq
import random
from collections import Counter
from pathlib import Path

import pytest

from tenuto.tasks.limits import Limit
from tenuto.tasks.money import NOTHING, Amount
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import Stage, VirtualClock
from tests.conformance.till import Till

MINUTE = 60_000


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda each: each.name)
async def test_six_hundred_calls_a_minute_are_never_more_and_hardly_ever_less(engine: Engine, tmp_path: Path) -> None:
    # Given 600 calls a minute at most: 20 at once and 580 more; four programs of three callers each
    clock, chance = VirtualClock(), random.Random(1)
    stores = [engine.make(tmp_path, clock) for _ in range(4 if engine.durable else 1)]
    for store in stores:
        await store.open()
    try:
        await stores[0].put_limit(Limit("rpm", rate=580, period=MINUTE, burst=20))
        tills = [Till(Stage(stores[number % len(stores)], clock)) for number in range(12)]
        callers = [await till.running(f"t{number}") for number, till in enumerate(tills)]
        # When for three minutes each calls as soon as it may, and is a little late each time
        begun, granted = clock.now, list[int]()
        turns = [(clock.now, number) for number in range(len(callers))]
        while turns[0][0] < begun + 3 * MINUTE:
            clock.now, number = heapq.heappop(turns)
            recorded = await tills[number].reserve(
                callers[number], f"c{clock.now}-{len(granted)}", Amount(requests=1), rates=(("rpm", 1),)
            )
            if recorded.refused is None:
                granted.append(clock.now)
            again = clock.now if recorded.refused is None else recorded.refused.retry_at
            assert again is not None
            heapq.heappush(turns, (again + chance.randint(0, 500), number))
    finally:
        for store in stores:
            await store.close()
    # Then
    for first, at in enumerate(granted):
        assert bisect.bisect_left(granted, at + MINUTE) - first <= 600
    assert len(granted) >= 0.95 * 3 * 600


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda each: each.name)
async def test_an_owner_with_many_callers_does_not_starve_one_with_a_single_caller(
    engine: Engine, tmp_path: Path
) -> None:
    # Given 600 calls a minute, thirty callers of one owner and a single one of another
    clock, chance = VirtualClock(), random.Random(2)
    store = engine.make(tmp_path, clock)
    await store.open()
    try:
        await store.put_limit(Limit("rpm", rate=600, period=MINUTE))
        till = Till(Stage(store, clock))
        owners = ["many"] * 30 + ["single"]
        callers = [await till.running(f"t{number}", owner=owner) for number, owner in enumerate(owners)]
        # When for twenty seconds each calls as soon as it may, and is a little late each time
        begun, granted = clock.now, Counter[str]()
        turns = [(clock.now, number) for number in range(len(callers))]
        while turns[0][0] < begun + 20_000:
            clock.now, number = heapq.heappop(turns)
            call = f"c{clock.now}-{sum(granted.values())}"
            recorded = await till.reserve(callers[number], call, Amount(requests=1), rates=(("rpm", 1),))
            granted[owners[number]] += recorded.refused is None
            again = clock.now if recorded.refused is None else recorded.refused.retry_at
            assert again is not None
            heapq.heappush(turns, (again + chance.randint(0, 40), number))
    finally:
        await store.close()
    # Then it gets about half of them, and hardly any is lost
    assert granted["single"] >= 0.4 * sum(granted.values())
    assert sum(granted.values()) >= 0.85 * 200


@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda each: each.name)
async def test_a_crowd_that_reserves_more_than_it_uses_does_not_wait_for_what_it_reserves(
    engine: Engine, tmp_path: Path
) -> None:
    # Given 600 tokens a minute, calls that have used all that they reserved, and then eighty tasks at once, each with a
    # call that uses a fourth of its 40
    clock, chance = VirtualClock(), random.Random(3)
    store = engine.make(tmp_path, clock)
    await store.open()
    try:
        await store.put_limit(Limit("tpm", rate=600, period=MINUTE, burst=80))
        till = Till(Stage(store, clock))
        before = await till.running()
        for number in range(20):
            assert await till.granted(before, f"c{number}", NOTHING, rates=(("tpm", 40),))
            await till.settle(before, f"c{number}", NOTHING, rates=(("tpm", 40),))
            clock.move(8_000)
        callers = [await till.running(f"t{number}") for number in range(80)]
        # When each comes when it is told to, and is settled within a second
        begun, asked = clock.now, 0
        turns = [(clock.now, number, "ask") for number in range(len(callers))]
        while turns:
            clock.now, number, what = heapq.heappop(turns)
            if what == "settle":
                await till.settle(callers[number], "c", NOTHING, rates=(("tpm", 10),))
                continue
            asked += 1
            refused = (await till.reserve(callers[number], "c", NOTHING, rates=(("tpm", 40),))).refused
            again = clock.now + 800 if refused is None else refused.retry_at
            assert again is not None
            late = chance.randint(0, 30)
            heapq.heappush(turns, (again + late, number, "settle" if refused is None else "ask"))
    finally:
        await store.close()
    # Then it takes the eighty seconds of what they use, or little more, and few of them have come in vain
    assert clock.now - begun < 1.5 * 80_000
    assert asked <= 5 * len(callers)
