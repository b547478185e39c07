"""What one exchange with the store takes: with much history, and beside a transaction that stays open.

Ten results are committed and ten tasks claimed in each, which is what a worker of ten places does under load.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from bench import loops
from bench.measures import quantiles
from bench.places import Place
from bench.plan import Size
from bench.tenuto.work import specs
from tenuto.stores import open_store
from tenuto.stores.base import Claim, Exchange, Store, TimeToLive
from tenuto.tasks.goal import Tree
from tenuto.tasks.ids import new_id
from tenuto.tasks.outcome import Ending, Outcome
from tenuto.tasks.task import TaskSpec

__all__ = ["churn", "stored"]

_NODES = 100
_WANT = Claim(("bench",), 10, 30_000)
_RESULT = msgspec.Raw(b'{"n":0}')


@contextlib.asynccontextmanager
async def _opened(url: str) -> AsyncIterator[Store]:
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


class _Client:
    """Claims and finishes, and keeps how long each exchange took."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.worker = new_id("worker")
        self.number = 0
        self.outcomes: tuple[Outcome, ...] = ()
        self.seconds: list[float] = []

    async def exchange(self) -> None:
        self.number += 1
        request = Exchange(self.worker, self.number, self.outcomes, _WANT)
        began = time.perf_counter()
        answer = await self.store.commit_and_claim(request)
        self.seconds.append(time.perf_counter() - began)
        if not answer.leases:
            raise RuntimeError("there was nothing to claim")
        self.outcomes = tuple(Outcome(lease.hold, Ending.DONE, result=_RESULT) for lease in answer.leases)


async def _goals(store: Store, tasks: int) -> None:
    nodes = tuple(replace(spec, id=f"n{number}") for number, spec in enumerate(specs(_NODES)))
    for _ in range(0, tasks, 10 * _NODES):
        await store.submit([Tree(root=TaskSpec(id=new_id("goal")), nodes=nodes) for _ in range(10)])


async def _stored(place: Place, size: Size) -> Mapping[str, float]:
    values: dict[str, float] = {}
    for tasks in size.stored:
        url = place.new(f"stored{tasks}")
        async with _opened(url) as store:
            await _goals(store, tasks)
            place.rest(url)
            client = _Client(store)
            for _ in range(min(size.exchanges, tasks // 20)):
                await client.exchange()
        values |= quantiles(f"stored.{tasks}", client.seconds[len(client.seconds) // 10 :])
    return values


def stored(place: Place, size: Size) -> Mapping[str, float]:
    """With more and more tasks in the store."""
    return loops.run(_stored(place, size))


@contextlib.contextmanager
def _open_transaction(url: str) -> Iterator[None]:
    """A transaction whose snapshot keeps every dead row of the database from being removed."""
    import psycopg

    with psycopg.connect(url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("SELECT count(*) FROM pg_class")
        yield


async def _churn(url: str, size: Size) -> list[float]:
    """Exchanges for a while, with a sweep now and then; the durations of the last third."""
    async with _opened(url) as store:
        until = time.monotonic() + size.churn
        client = _Client(store)
        await store.submit([Tree(root=spec) for spec in specs(1_000)])
        while time.monotonic() < until:
            await store.submit([Tree(root=spec) for spec in specs(1_000)])
            await store.sweep(100, TimeToLive())
            for _ in range(100):
                await client.exchange()
    return client.seconds[-len(client.seconds) // 3 :]


def churn(place: Place, size: Size) -> Mapping[str, float]:
    """With and without a transaction that is open from before the first task to after the last."""
    values: dict[str, float] = {}
    for name, held in (("free", contextlib.nullcontext), ("held", _open_transaction)):
        url = place.new(f"churn_{name}")
        loops.run(_schema(url))
        with held(url):
            values |= quantiles(f"churn.{name}", loops.run(_churn(url, size)))
    return values


async def _schema(url: str) -> None:
    async with _opened(url):
        pass
