"""A commit whose answer was lost is found out about for a long time, however much others write meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from tenuto.errors import StoreUnavailable
from tenuto.stores.postgres import PostgresStore, session
from tenuto.tasks.signal import Delivery, Signal, SignalKind
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy

_HEADERS = 8
_PATIENCE = 20.0


class Absence:
    """A store behind a network that loses the answer to its commit, and another store that goes on beside it."""

    def __init__(self, server: PostgresServer, database: str, proxy: Proxy) -> None:
        self.server, self.database, self.proxy = server, database, proxy
        self.clock = VirtualClock()
        url = server.url(database, tcp=True)
        self.lost = PostgresStore(url.replace(f":{server.port}/", f":{proxy.port}/"), clock=self.clock)
        self.other = PostgresStore(url, clock=self.clock)
        self.stage = Stage(self.other, self.clock)

    async def steer_unheard(self) -> asyncio.Task[Delivery]:
        """Begins to send a message without a key; it is committed, and the answer is on its way for ever."""
        with self.server.connect(self.database) as blocker:
            blocker.execute("BEGIN")
            blocker.execute("LOCK TABLE tenuto.header IN SHARE MODE")  # whoever writes waits before the commit
            sending = asyncio.create_task(self._steer())
            await asyncio.to_thread(self._await_waiting)
            self.proxy.silence()
            blocker.execute("COMMIT")
        return sending

    async def others_write(self, transactions: int) -> None:
        for number in range(transactions):
            await self.stage.add(spec(f"other-{self.clock.now}-{number}"))

    async def messages(self) -> int:
        return len(await self.other.inbox("task-1"))

    async def _steer(self) -> Delivery:
        (delivered,) = await self.lost.signal([Signal("task-1", SignalKind.STEER, data="left")])
        return delivered.delivery

    def _await_waiting(self) -> None:
        with self.server.connect(self.database) as watcher:
            deadline = time.monotonic() + _PATIENCE
            while time.monotonic() < deadline:
                found = watcher.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tenuto writer' "
                    "AND wait_event_type = 'Lock' AND wait_event = 'relation' AND datname = current_database()"
                ).fetchone()
                if found == (1,):
                    return
        raise AssertionError("nobody waits for the table")


@pytest.fixture
async def absence(server: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Absence]:
    monkeypatch.setattr(session, "_KEPT_HEADERS", _HEADERS)
    with Proxy("127.0.0.1", server.port) as proxy:
        absence = Absence(server, database, proxy)
        await absence.lost.open()
        await absence.other.open()
        try:
            await absence.stage.add(spec("task-1"))
            yield absence
        finally:
            proxy.heal(cut=True)
            await absence.lost.close()
            await absence.other.close()


async def test_a_commit_is_known_of_when_many_others_have_followed(absence: Absence) -> None:
    # Given a message whose commit was made, and whose answer does not come
    sending = await absence.steer_unheard()
    # When many more transactions are made than headers are kept, and the network is there again
    await absence.others_write(6 * _HEADERS)
    absence.proxy.heal(cut=True)
    # Then the message was sent, once
    async with asyncio.timeout(_PATIENCE):
        assert await sending is Delivery.ACCEPTED
    assert await absence.messages() == 1


async def test_what_cannot_be_found_out_any_more_is_not_done_again(absence: Absence) -> None:
    # Given a message whose commit was made, and whose answer does not come
    sending = await absence.steer_unheard()
    # When hours pass by the store's clock before the network is there again
    await absence.others_write(3 * _HEADERS)
    absence.clock.move(3 * 3_600_000)
    await absence.others_write(3 * _HEADERS)
    absence.proxy.heal(cut=True)
    # Then whoever has sent it is told so, and the message is there once
    async with asyncio.timeout(_PATIENCE):
        with pytest.raises(StoreUnavailable, match="cannot be found out"):
            await sending
    assert await absence.messages() == 1


async def test_marks_are_removed_in_time(absence: Absence, server: PostgresServer, database: str) -> None:
    # Given marks of transactions of long ago
    await absence.others_write(5 * _HEADERS)
    # When others follow, hours later
    absence.clock.move(3 * 3_600_000)
    await absence.others_write(5 * _HEADERS)
    # Then only those of the last hour are kept
    with server.connect(database) as admin:
        (oldest,) = admin.execute("SELECT min(at) FROM tenuto.past").fetchone() or (0,)
    assert oldest >= absence.clock.now - 3_600_000
