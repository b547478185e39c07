"""A commit whose answer was lost is looked up: what was made is answered as made, and nothing is done twice."""

from __future__ import annotations

import asyncio

import pytest

from tenuto.stores.base import Verdict
from tenuto.stores.postgres import PostgresStore
from tests.conformance.stage import Stage, VirtualClock, spec
from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy


@pytest.mark.parametrize("lost", range(8))
async def test_whichever_answer_is_lost_everything_is_done_once(
    server: PostgresServer, database: str, lost: int
) -> None:
    # Given a store that is reached through a bad network
    clock = VirtualClock()
    with Proxy("127.0.0.1", server.port) as proxy:
        url = server.url(database, tcp=True).replace(f":{server.port}/", f":{proxy.port}/")
        store = PostgresStore(url, clock=clock)
        await store.open()
        try:
            stage = Stage(store, clock)
            await stage.add(spec("task-1"))
            # When one of the answers that make a submission and a claim never comes, and the connection breaks
            proxy.cut_after(lost)
            async with asyncio.timeout(60):
                (submitted,) = await stage.submit(spec("task-2"))
                claimed = await stage.worker().claim(2)
            # Then both are answered as they were done, once
            assert submitted.verdict is Verdict.CREATED
            assert [(lease.task_id, lease.attempt) for lease in claimed] == [("task-1", 1), ("task-2", 1)]
            kinds = [event.kind.value for event in (await store.events()).events]
            assert kinds == ["created", "created", "started", "started"]
        finally:
            await store.close()
