"""Transactions that count on nobody else having written: nothing of one that is wrong is stored or answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.base import Verdict
from tenuto.stores.postgres import PostgresStore
from tenuto.stores.postgres.session import PostgresStatements
from tenuto.stores.postgres.trust import Trust
from tenuto.stores.rules.work import Work
from tenuto.tasks.goal import Tree
from tenuto.tasks.signal import SignalKind
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.servers.postgres import PostgresServer

Pair = tuple[PostgresStore, PostgresStore]


class Count:
    """How often transactions counted on being alone, and how that turned out."""

    def __init__(self) -> None:
        self.kept = self.broken = 0


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    """Every transaction counts on it, whatever was heard of others."""
    count = Count()

    def kept(trust: Trust) -> None:
        count.kept += 1

    def broken(trust: Trust) -> None:
        count.broken += 1

    monkeypatch.setattr(Trust, "counts", lambda trust: True)
    monkeypatch.setattr(Trust, "kept", kept)
    monkeypatch.setattr(Trust, "broken", broken)
    return count


@pytest.fixture
async def pair(server: PostgresServer, database: str, count: Count) -> AsyncIterator[Pair]:
    """Two programs with one store, each of which has written before."""
    both = PostgresStore(server.url(database)), PostgresStore(server.url(database))
    for number, store in enumerate(both):
        await store.open()
        await store.submit([Tree(spec(f"first-{number}", agent="other"))])
    yield both
    for store in both:
        await store.close()


async def test_who_is_alone_is_answered_in_one_round_trip(
    server: PostgresServer, database: str, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a program that is alone with its store
    store = PostgresStore(server.url(database))
    await store.open()
    await store.submit([Tree(spec("a"))])
    flush, flushes = PostgresStatements.flush, 0

    def flushed(statements: PostgresStatements) -> None:
        nonlocal flushes
        flushes += 1
        flush(statements)

    monkeypatch.setattr(PostgresStatements, "flush", flushed)
    # When it submits
    (answer,) = await store.submit([Tree(spec("b"))])
    # Then it waits for the server once
    assert (answer.verdict, flushes, count.kept, count.broken) == (Verdict.CREATED, 1, 1, 0)
    await store.close()


async def test_what_was_counted_on_wrongly_is_done_again(pair: Pair, count: Count) -> None:
    # Given two programs that do not hear of each other
    here, there = pair
    # When they submit and claim in turns
    for number in range(6):
        await pair[number % 2].submit([Tree(spec(f"task-{number}"))])
    stage = Stage(here, VirtualClock())
    claimed = [await stage.worker(store=pair[number % 2]).ids(1) for number in range(7)]
    # Then they have noticed, and each task is there once and was claimed once, in order
    assert count.broken > 0
    assert claimed == [[f"task-{number}"] for number in range(6)] + [[]]
    cursors = [event.cursor for event in (await here.events()).events]
    assert cursors == sorted(set(cursors))
    assert len(cursors) == 2 + 2 * 6
    assert await here.check() == await there.check() == []


async def test_an_id_that_another_has_taken_is_seen(pair: Pair, count: Count) -> None:
    here, there = pair
    await here.submit([Tree(spec("same"))])
    (conflict,) = await there.submit([Tree(spec("same", agent="another"))])
    (again,) = await there.submit([Tree(spec("same"))])
    assert (conflict.verdict, again.verdict) == (Verdict.CONFLICT, Verdict.EXISTING)
    assert count.broken > 0


async def test_an_id_of_ones_own_that_is_not_remembered_any_more_is_seen(pair: Pair, count: Count) -> None:
    # Given a task that has ended, so that nobody remembers it
    _, there = pair
    await there.submit([Tree(spec("ended"))])
    await Stage(there, VirtualClock()).worker().run_all()
    await there.submit([Tree(spec("next"))])
    assert count.broken == 0
    # When it is submitted again
    (again,) = await there.submit([Tree(spec("ended"))])
    # Then it is found
    assert again.verdict is Verdict.EXISTING
    assert count.broken == 1


async def test_no_error_is_told_that_comes_from_what_is_not_so_any_more(pair: Pair, count: Count) -> None:
    # Given a task that one program knows as ready, and another has cancelled
    here, there = pair
    await here.submit([Tree(spec("task"))])
    await Stage(there, VirtualClock()).signal(SignalKind.CANCEL, "task")
    before = count.broken

    def refuse(work: Work) -> None:
        task = work.tables.task("task")
        raise InvalidInput(f"it is {'gone' if task is None else task.state.value}")

    # When the first refuses something because of it, then it says why by what is so
    with pytest.raises(InvalidInput, match="it is cancelled"):
        await here._write(refuse)
    assert count.broken == before + 1


async def test_a_clock_that_is_not_the_servers_any_more_is_not_gone_by(
    pair: Pair, server: PostgresServer, database: str, count: Count
) -> None:
    # Given a program on a machine that has slept for an hour, in which its monotonic clock stood still
    _, there = pair
    assert count.broken == 0
    there._writer._statements._time._ahead -= 3_600_000  # type: ignore[union-attr]
    # When it submits
    await there.submit([Tree(spec("task"))])
    # Then the task is dated by the server
    task = await there.task("task")
    with psycopg.connect(server.url(database)) as connection:
        (now,) = connection.execute("SELECT extract(epoch FROM clock_timestamp()) * 1000").fetchone() or (0,)
    assert task is not None
    assert now - 60_000 < task.created_at <= now
    assert count.broken == 1


async def test_callers_with_open_transactions_are_minded(
    pair: Pair, server: PostgresServer, database: str, count: Count
) -> None:
    # Given a caller that has submitted a task in a transaction that is still open
    here, there = pair
    await here.submit([Tree(spec("latest"))])
    with psycopg.connect(server.url(database)) as connection:
        await there.submit([Tree(spec("theirs"))], connection=connection)
        # When others submit it too, before and after the caller commits
        (before,) = await here.submit([Tree(spec("theirs", agent="another"))])
        await asyncio.to_thread(connection.commit)
    (after,) = await here.submit([Tree(spec("theirs"))])
    # Then it is the caller's
    assert before.verdict is Verdict.CONFLICT
    assert after.verdict is Verdict.EXISTING


async def test_what_a_caller_has_committed_comes_first(
    pair: Pair, server: PostgresServer, database: str, count: Count
) -> None:
    # Given a task that a caller has submitted and committed, and that nobody has admitted yet
    there, here = pair
    with psycopg.connect(server.url(database)) as connection:
        await there.submit([Tree(spec("theirs"))], connection=connection)
        await there.close()
    before = count.broken
    # When another program counts on nothing having happened, and submits the same id
    (answer,) = await here.submit([Tree(spec("theirs", agent="another"))])
    # Then it is the caller's
    assert answer.verdict is Verdict.CONFLICT
    assert count.broken == before + 1


class Minute:
    """A clock that somebody sets."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_erred_is_wary_for_longer_each_time() -> None:
    # Given somebody who hears nothing, and errs whenever it counts on it
    clock = Minute()
    trust = Trust(lambda: 0, clock)
    waits = []
    for _ in range(8):
        wait = 0
        clock.now += 60
        while not trust.counts():
            wait += 1
        waits.append(wait)
        trust.broken()
    # Then it asks first, longer each time, up to a bound
    assert waits == [0, 1, 3, 7, 15, 31, 63, 63]


def test_others_who_were_seen_a_moment_ago_are_still_there() -> None:
    heard, clock = 0, Minute()
    trust = Trust(lambda: heard, clock)
    assert trust.counts()
    heard += 3
    assert not trust.counts()
    assert not trust.counts()
    clock.now += 1
    assert trust.counts()
    trust.met()
    assert not trust.counts()
