"""NOTIFY as a hint: at once after a quiet time, put together when there are many, and harmless when it is lost."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from tenuto.stores.base import Hint
from tenuto.stores.postgres import PostgresStore
from tenuto.stores.postgres.connection import Address
from tenuto.stores.postgres.hints import Hints, payloads
from tenuto.tasks.goal import Tree
from tests.conformance.stage import spec
from tests.servers.postgres import PostgresServer

PATIENCE = 60.0


class Heard:
    """What a listener was told."""

    def __init__(self, hints: Hints | PostgresStore) -> None:
        self.hints: queue.Queue[Hint] = queue.Queue()
        self._got: list[Hint] = []
        hints.listen(self.hints.put)

    def until(self, fits: Callable[[Hint], bool]) -> list[Hint]:
        """All hints up to the first that fits."""
        heard, deadline = [], time.monotonic() + PATIENCE
        while True:
            heard.append(self.hints.get(timeout=max(0.0, deadline - time.monotonic())))
            self._got.append(heard[-1])
            if fits(heard[-1]):
                return heard

    def all(self) -> list[Hint]:
        """Everything that has come."""
        while not self.hints.empty():
            self._got.append(self.hints.get())
        return self._got


@pytest.fixture
def pair(server: PostgresServer, database: str) -> Iterator[tuple[Hints, Hints]]:
    """Those of two stores on one database."""
    both = tuple(Hints(Address.of(server.url(database))) for _ in range(2))
    for each in both:
        each.open()
    yield both[0], both[1]
    for each in both:
        each.close()


def ready(agent: str) -> Callable[[Hint], bool]:
    return lambda hint: agent in hint.ready


def test_a_hint_reaches_this_process_and_others(pair: tuple[Hints, Hints]) -> None:
    here, there = pair
    near, far = Heard(here), Heard(there)
    here.tell(Hint(frozenset({"echo"}), frozenset({"task-1"})))
    assert near.hints.get_nowait() == Hint(frozenset({"echo"}), frozenset({"task-1"})), "at once, without a server"
    assert far.until(ready("echo"))[-1] == Hint(frozenset({"echo"}), frozenset({"task-1"}))
    assert near.hints.empty(), "a process does not hear itself twice"


def test_who_has_just_begun_to_listen_hears(server: PostgresServer, database: str, pair: tuple[Hints, Hints]) -> None:
    here, _ = pair
    late = Hints(Address.of(server.url(database)))
    late.open()
    heard = Heard(late)
    here.tell(Hint(frozenset({"echo"})))
    heard.until(ready("echo"))
    late.close()


def test_a_hint_after_a_quiet_time_goes_with_its_transaction_and_the_next_one_later(pair: tuple[Hints, Hints]) -> None:
    # Given a store that has told nobody anything for a while
    here, there = pair
    far = Heard(there)
    hint = Hint(frozenset({"echo"}), frozenset({"task-1"}))
    # When it is about to commit, and again at once
    first, second = here.with_commit(hint), here.with_commit(hint)
    # Then the first transaction is to send its hint, and that of the second is put off
    assert first == payloads(hint)
    assert second == []
    here.tell(hint, sent=True)
    here.tell(Hint(frozenset({"last"})))
    assert far.until(ready("last")) == [Hint(frozenset({"last"}))], "what is said to be sent is not sent again"


async def test_each_commit_is_heard_of_once_elsewhere_and_once_at_home(server: PostgresServer, database: str) -> None:
    # Given two stores on one database
    here, there = (PostgresStore(server.url(database)) for _ in range(2))
    await here.open()
    await there.open()
    heard = {store: Heard(store) for store in (here, there)}
    # When one of them commits, one after the other
    for number in range(5):
        await here.submit([Tree(spec(f"task-{number}", agent=f"agent-{number}"))])
        await asyncio.to_thread(heard[there].until, ready(f"agent-{number}"))
    # Then each is heard of once, whoever sent it
    for each in heard.values():
        assert [sorted(hint.ready) for hint in each.all()] == [[f"agent-{number}"] for number in range(5)]
    await here.close()
    await there.close()


def test_many_hints_travel_together(pair: tuple[Hints, Hints]) -> None:
    here, there = pair
    far = Heard(there)
    for number in range(2_000):
        here.tell(Hint(frozenset({f"agent-{number % 5}"}), frozenset({f"task-{number}"})))
    here.tell(Hint(frozenset({"last"})))
    assert len(far.until(ready("last"))) < 500


def test_another_schema_is_another_store(server: PostgresServer, database: str, pair: tuple[Hints, Hints]) -> None:
    here, there = pair
    other = Hints(Address.of(server.url(database, schema="other")))
    other.open()
    far, elsewhere = Heard(there), Heard(other)
    here.tell(Hint(frozenset({"echo"})))
    far.until(ready("echo"))
    other.tell(Hint(frozenset({"own"})))
    assert len(elsewhere.until(ready("own"))) == 1
    other.close()


def test_a_connection_that_breaks_is_made_anew(
    server: PostgresServer, database: str, pair: tuple[Hints, Hints]
) -> None:
    here, there = pair
    far = Heard(there)
    with server.connect(database) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [database],
        )
    far.until(lambda hint: hint.tasks is None)
    deadline = time.monotonic() + PATIENCE
    while far.hints.empty() and time.monotonic() < deadline:
        here.tell(Hint(frozenset({"again"})))  # its own connection may not be back yet
        time.sleep(0.01)
    far.until(ready("again"))


def test_a_server_that_is_gone_holds_nobody_up(own_server: PostgresServer) -> None:
    threads = set(threading.enumerate())
    hints = Hints(Address.of(own_server.url()))
    hints.open()
    heard = Heard(hints)
    own_server.stop()
    for number in range(100):
        hints.tell(Hint(frozenset({f"agent-{number}"})))
    assert heard.hints.qsize() >= 100
    hints.close()
    assert "tenuto-postgres-hints" not in {thread.name for thread in set(threading.enumerate()) - threads}


def test_a_listener_that_raises_ends_nothing(pair: tuple[Hints, Hints], monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pair
    raised: list[BaseException | None] = []
    hints_by_name: dict[str, None] = {}
    monkeypatch.setattr(threading, "excepthook", lambda told: raised.append(told.exc_value))
    there.listen(lambda hint: hints_by_name[str(hint)])

    far = Heard(there)
    here.tell(Hint(frozenset({"echo"})))
    far.until(ready("echo"))
    assert isinstance(raised[0], KeyError)


@pytest.mark.parametrize(
    "hint",
    [
        Hint(frozenset({"echo"}), frozenset({"task-1"})),
        Hint(frozenset(f"agent-{number}-" + "x" * 100 for number in range(500))),
        Hint(frozenset({"echo"}), frozenset("t" * 200 + str(number) for number in range(200))),
        Hint(frozenset(f"Ä{number}" * 60 for number in range(200)), frozenset({"a", "b"})),
    ],
    ids=["small", "many agents", "long tasks", "other letters"],
)
def test_a_hint_fits_into_notifications(hint: Hint) -> None:
    sent = payloads(hint)
    assert all(len(each.encode()) < 8_000 for each in sent)
    back = [msgspec.json.decode(each, type=Hint) for each in sent]
    assert frozenset().union(*(each.ready for each in back)) == hint.ready
    assert (
        any(each.tasks is None for each in back)
        or frozenset().union(*(each.tasks or () for each in back)) == hint.tasks
    )
