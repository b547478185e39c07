"""A network that goes silent, or loses answers, at the worst moment: others go on, and what is asked again is done
once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from tenuto.stores import open_store
from tenuto.stores.base import Store, Verdict
from tenuto.tasks.goal import Tree
from tenuto.tasks.states import State
from tests.chaos.places import open_place
from tests.conformance.stage import Worker, spec
from tests.servers.proxy import Proxy

pytestmark = pytest.mark.chaos

_SOON = 15.0
"""Seconds in which others must get their answer, whatever somebody holds."""


async def _eventually(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110  # a network sets no event
            await asyncio.sleep(0.01)


class _Two:
    """A store with a straight way to it, and one over a proxy."""

    def __init__(self, straight: Store, far: Store, proxy: Proxy) -> None:
        self.straight, self.far, self.proxy = straight, far, proxy


@pytest.fixture(scope="module", params=["redis", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with contextlib.closing(open_place(request.param, Path(tmp_path_factory.mktemp("place")))) as place:
        place.begin("silence", 0)
        yield place.url


@pytest.fixture
async def two(url: str) -> AsyncIterator[_Two]:
    port = url.partition("127.0.0.1:")[2].partition("/")[0]
    with Proxy("127.0.0.1", int(port)) as proxy:
        straight, far = open_store(url), open_store(url.replace(f":{port}/", f":{proxy.port}/"))
        await straight.open()
        await far.open()
        yield _Two(straight, far, proxy)
        proxy.heal()
        await far.close()
        await straight.close()


async def test_who_falls_silent_in_the_middle_of_a_write_holds_nobody_up(two: _Two) -> None:
    # Given somebody far away who is always in the middle of a write
    two.proxy.slow(0.02)  # 0.02 s each way: an answer takes twice that
    acknowledged: list[str] = []

    async def write() -> None:
        for number in range(100_000):
            await two.far.submit([Tree(spec(f"far-{number}"))])
            acknowledged.append(f"far-{number}")

    async def more() -> None:
        least = len(acknowledged) + 3
        await _eventually(lambda: len(acknowledged) >= least)

    writing = asyncio.create_task(write())
    for moment in (1, 2):
        await more()
        await asyncio.sleep(moment * 0.02)
        # When nothing of it comes through any more
        two.proxy.silence()
        # Then others get their answers
        began = time.monotonic()
        for number in range(5):
            (answer,) = await two.straight.submit([Tree(spec(f"near-{moment}-{number}"))])
            assert answer.verdict is Verdict.CREATED
        assert time.monotonic() - began < _SOON
        # and what was held back is done once, when it arrives late
        two.proxy.heal()
        two.proxy.slow(0.02)
    await more()
    writing.cancel()
    await asyncio.wait([writing])
    assert set(await two.straight.tasks_by_id(tuple(acknowledged))) == set(acknowledged)
    for task_id in acknowledged:
        assert len((await two.straight.events(task_id=task_id, limit=10)).events) == 1


async def test_a_claim_whose_answer_was_lost_is_given_again_and_not_twice(two: _Two) -> None:
    await two.straight.submit([Tree(spec(f"task-{number}", agent="claimed")) for number in range(60)])
    worker = Worker(two.far, "worker-far", ("claimed",))
    held: list[str] = []
    for answers in range(6):
        # When a claim is cut off after so many answers of the server: before it happened, or afterwards
        two.proxy.cut_after(answers)
        async with asyncio.timeout(60):
            held += [lease.task_id for lease in await worker.claim(10)]
    # Then the worker knows of every task that it was given, once
    assert sorted(held) == sorted(f"task-{number}" for number in range(60))
    assert (await two.straight.stats())[State.RUNNING] == 60
