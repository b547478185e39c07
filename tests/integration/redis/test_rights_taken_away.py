"""A right is taken away while a store is at work: a request is carried out whole, or nothing of it is."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tenuto.errors import StoreError
from tenuto.stores.redis import RedisStore
from tenuto.stores.redis.rights import commands
from tenuto.stores.redis.scripts import SCRIPTS, script
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.signal import Delivery, SignalKind
from tests.conformance.stage import LEASE, Stage, VirtualClock, raw, spec
from tests.servers.redis import RedisServer, installations

_MAY_BE_REFUSED = frozenset({"PUBLISH"})
_ASKED = re.compile(r"may\('([A-Z]+)'")


def used_by_scripts_that_write() -> frozenset[str]:
    texts = [script(name).text for name in SCRIPTS]
    return frozenset[str]().union(*(commands(text) for text in texts if "session.begin()" in text)) - _MAY_BE_REFUSED


@pytest.fixture(params=[version for version in installations() if version != "redis6"])
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One that can be asked for rights inside a script."""
    with RedisServer(request.param) as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all")
        yield server


@pytest.fixture
async def stage(server: RedisServer) -> AsyncIterator[Stage]:
    clock = VirtualClock()
    store = RedisStore(server.url(user="bob", password="secret"), clock=clock)
    await store.open()
    yield Stage(store, clock)
    await store.close()


def content(server: RedisServer) -> dict[str, Any]:
    """Everything that is stored."""
    with server.client() as client:
        return {key: client.dump(key) for key in client.scan_iter()}


def test_every_script_that_writes_is_asked_about() -> None:
    asked = frozenset(_ASKED.findall(script("exchange").text))
    assert used_by_scripts_that_write() <= asked


@pytest.mark.parametrize("command", sorted(used_by_scripts_that_write()))
async def test_without_one_right_nothing_of_a_request_is_done(server: RedisServer, stage: Stage, command: str) -> None:
    # Given tasks in every stage of their lives
    await stage.limit("gate", concurrency=1)
    await stage.add_goal("a b", "a>b")
    await stage.add(
        *(spec(f"t{number}", limits=("gate",), tags=("x",), idempotency_key=f"{number}") for number in (1, 2))
    )
    worker = stage.worker()
    leases = {lease.task_id: lease for lease in await worker.claim(3)}
    before = content(server)
    # When the right to one command is gone, then each request is refused and changes nothing
    server.command("ACL", "SETUSER", "bob", f"-{command}")
    for request in (
        lambda: stage.add(spec("new", limits=("gate",))),
        lambda: worker.done(leases["a"]),
        lambda: worker.claim(1),
        lambda: worker.record(leases["t1"], Step("s", 0, value=raw(1))),
        lambda: worker.renew(leases["t1"], span=2 * LEASE),
        lambda: stage.signal(SignalKind.STEER, "t1", data="left"),
        lambda: stage.signal(SignalKind.CANCEL, "goal-1"),
        lambda: stage.limit("other", concurrency=2),
    ):
        with pytest.raises(StoreError, match="does not let this user do what it has to"):
            await request()
    assert content(server) == before
    # When it is given back, then work goes on
    server.command("ACL", "SETUSER", "bob", f"+{command}")
    assert await worker.done(leases["a"]) is Answer.ACCEPTED
    assert (await stage.signal(SignalKind.STEER, "t1", data="left")).delivery is Delivery.ACCEPTED
    assert await worker.ids() == ["b"]
