"""Connections under faults of real servers: nothing waits for ever, what passes is asked again, the rest is said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from tenuto.errors import StoreBusy, StoreClosed, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.errors import translate
from tests.servers.redis import RedisServer, installations, shared_redis

Opener = Callable[..., Connections]

_WRITE = "return redis.call('SET', KEYS[1], ARGV[1])"


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Makes connections to a URL, which end with the test."""
    with ExitStack() as stack:

        def make(url: str) -> Connections:
            connections = Connections(Address.of(url))
            stack.callback(connections.close)
            return connections

        yield make


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def write(connections: Connections, value: int | str = 1, patience: float = 60.0) -> Any:
    """Writes with a script, as all verbs do."""
    (answer,) = connections.ask([("EVAL", _WRITE, 1, "written", value)], writes=True, patience=patience)
    if isinstance(answer, Exception):
        raise answer
    return answer


def test_commands_go_out_together_and_each_has_its_answer(opened: Opener) -> None:
    with RedisServer() as server:
        answers = opened(server.url()).ask([("SET", "a", "x"), ("INCR", "a"), ("GET", "a")])
    assert [type(answer).__name__ for answer in answers] == ["bytes", "ResponseError", "bytes"]
    assert answers[2] == b"x"


def test_a_unix_socket_will_do(opened: Opener) -> None:
    server = shared_redis()
    assert opened(server.url(unix=True)).ask([("PING",)]) == [b"PONG"]


# -- servers that go away ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
def test_a_server_that_comes_back_is_waited_for(version: str, opened: Opener, background: ThreadPoolExecutor) -> None:
    # Given connections that were used
    with RedisServer(version, appendonly="always") as server:
        connections = opened(server.url())
        for value in ("1", "2"):
            write(connections, value)
        # When the server is killed, and somebody asks while it is away
        server.kill()
        asked = background.submit(write, connections, "3")
        assert not _done(asked, 0.2)
        server.start()
        # Then the answer comes when the server is back
        assert asked.result(60) == b"OK"
        assert server.command("GET", "written") == "3"


def test_a_connection_that_the_server_has_closed_is_not_noticed(
    opened: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenuto.stores.redis.connection._FIRST_PAUSE", 1_000.0)  # nobody waits for anything
    with RedisServer() as server:
        connections = opened(server.url())
        write(connections)
        server.command("CLIENT", "KILL", "TYPE", "normal")
        assert write(connections, "2") == b"OK"


def test_a_server_that_stays_away_is_given_up(opened: Opener) -> None:
    with RedisServer() as server:
        connections = opened(server.url())
        write(connections)
        server.kill()
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable, match="Check that the server runs"):
            write(connections, patience=0.5)
        assert 0.2 < time.monotonic() - begun < 30  # it is less patient than others


def test_a_half_open_connection_is_given_up_and_made_anew(opened: Opener, background: ThreadPoolExecutor) -> None:
    # Given a server that stands still in the middle of things
    with RedisServer() as server:
        connections = opened(server.url(socket_timeout=0.3, socket_connect_timeout=0.3))
        write(connections)
        server.freeze()
        # When somebody asks, then nobody waits for ever
        with pytest.raises(StoreUnavailable, match="gave no answer in time"):
            write(connections, patience=0.1)
        # And who is patient gets an answer when the server goes on
        asked = background.submit(write, connections, "2")
        assert not _done(asked, 0.5)
        server.thaw()
        assert asked.result(60) == b"OK"


def test_closing_ends_those_who_wait(opened: Opener, background: ThreadPoolExecutor) -> None:
    with RedisServer() as server:
        connections = opened(server.url())
        write(connections)
        server.kill()
        asked = background.submit(write, connections)
        assert not _done(asked, 0.1)
        connections.close()
        with pytest.raises(StoreClosed):
            asked.result(60)
        with pytest.raises(StoreClosed):
            write(connections)


def test_who_finds_no_connection_free_waits_for_one(opened: Opener, background: ThreadPoolExecutor) -> None:
    # Given two connections, and four who ask at once for something that takes a while
    server = shared_redis()
    connections = opened(server.url(max_connections=2))
    slow = [("BLPOP", "nothing-comes-here", "0.1")]
    # When they all ask, then all get their answer
    asked = [background.submit(connections.ask, slow) for _ in range(4)]
    assert [each.result(60) for each in asked] == [[None]] * 4


def test_too_few_connections_for_too_long(
    opened: Opener, background: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenuto.stores.redis.connection.PATIENCE", 0.1)
    connections = opened(shared_redis().url(max_connections=2))
    asked = [background.submit(connections.ask, [("BLPOP", "nothing-comes-here", "3")]) for _ in range(4)]
    busy = [each.exception(60) for each in asked]
    assert sum(isinstance(error, StoreBusy) for error in busy) == 2
    assert "max_connections in its URL" in str(next(filter(None, busy)))


# -- servers that refuse -----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
def test_a_full_memory_is_said_at_once(version: str, opened: Opener) -> None:
    with RedisServer(version) as server:
        connections = opened(server.url())
        server.command("SET", "big", "x" * 100_000)
        server.command("CONFIG", "SET", "maxmemory", "100kb")
        with pytest.raises(StoreFull, match="has used up maxmemory"):
            _told(connections)
        server.command("CONFIG", "SET", "maxmemory", 0)
        assert write(connections) == b"OK"


@pytest.mark.parametrize("version", installations())
def test_a_master_that_became_a_replica_is_left_in_peace_until_it_is_master_again(
    version: str, opened: Opener, background: ThreadPoolExecutor
) -> None:
    # Given a server that is made a replica while it is in use
    with RedisServer(version) as server:
        connections = opened(server.url())
        write(connections)
        server.demote()
        # When somebody writes, then it is told after a while
        with pytest.raises(StoreReadOnly, match="Name the master"):
            write(connections, patience=0.2)
        # And who is more patient than the failover takes notices nothing
        asked = background.submit(write, connections, "2")
        assert not _done(asked, 0.2)
        server.promote()
        assert asked.result(60) == b"OK"


def test_a_server_that_loads_its_data_is_waited_for(opened: Opener, background: ThreadPoolExecutor) -> None:
    # Given a server with so much to load that it takes a while
    with RedisServer(appendonly="yes") as server:
        server.command("EVAL", "for i = 1, 2000 do redis.call('SET', i, string.rep('x', 100)) end", 0)
        connections = opened(server.url())
        write(connections)
        server.kill()
        server.configure(key_load_delay=1_000)
        if server.program != installations().get("redis6"):  # which looks after its clients each 1,000 keys
            server.configure(loading_process_events_interval_bytes=1024)
        server.start(wait=False)
        # When somebody asks who has no patience, then the reason is said
        assert _until(lambda: "is loading its data" in str(_error(connections, patience=0)))
        # And who has some gets an answer when that is done
        assert background.submit(write, connections, "2").result(60) == b"OK"


@pytest.mark.parametrize("version", installations())
def test_rights_that_are_taken_away(version: str, opened: Opener) -> None:
    with RedisServer(version) as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all")
        connections = opened(server.url(user="bob", password="secret"))
        write(connections)
        # When a command is forbidden in the middle of things, then it is named
        server.command("ACL", "SETUSER", "bob", "-set")
        with pytest.raises(StoreError, match="does not let this user do what it has to"):
            _told(connections)
        # And so it is with the password, for new connections
        server.command("ACL", "SETUSER", "bob", "+set", "resetpass", ">other")
        server.command("CLIENT", "KILL", "USER", "bob")
        with pytest.raises(StoreError, match="user or the password in its URL is wrong") as caught:
            write(connections)
        assert "secret" not in str(caught.value)


def test_a_disk_that_cannot_be_written(opened: Opener) -> None:
    # Given a server whose last snapshot failed
    with RedisServer(save="3600 1") as server:
        connections = opened(server.url())
        write(connections)
        (server.folder / "dump.rdb").mkdir()
        server.command("BGSAVE")
        # Then that is what is said
        assert _until(lambda: "cannot save to its disk" in str(_error(connections, patience=0)))


def test_too_many_clients(opened: Opener) -> None:
    with RedisServer() as server, server.client() as client:
        client.ping()
        server.command("CONFIG", "SET", "maxclients", 1)
        with pytest.raises(StoreUnavailable, match="Raise maxclients"):
            write(opened(server.url()), patience=0)


# -- replicas ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
def test_with_wait_replicas_nothing_is_answered_before_they_have_it(version: str, opened: Opener) -> None:
    with RedisServer(version) as master, RedisServer(version) as replica:
        replica.follow(master)
        connections = opened(master.url(wait_replicas=1, wait_timeout=10))
        # Given a replica, when something is written, then the replica has it with the answer
        for value in range(20):
            write(connections, value)
            assert replica.command("GET", "written") == str(value)
        # When the replica stands still, then that is said, and a repeat, which changes nothing, is told the same
        replica.freeze()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"only 0 of 1 replicas confirmed it within 0\.3 s"):
                write(opened(master.url(wait_replicas=1, wait_timeout=0.3)), "new")
        # And reads are answered all the same
        assert connections.ask([("GET", "written")]) == [b"new"]
        replica.thaw()
        assert _until(lambda: _error(connections) is None)


# -- many at once ------------------------------------------------------------------------------------------


def test_many_threads_at_once_while_connections_are_cut(opened: Opener, background: ThreadPoolExecutor) -> None:
    # Given threads that count, and connections that are cut all the time
    with RedisServer() as server:
        connections = opened(server.url(max_connections=4))
        done = threading.Event()

        def count(number: int) -> int:
            for step in range(1, 201):
                (answer,) = connections.ask([("SET", f"count-{number}", step)])
                assert answer == b"OK"
            return number

        def cut() -> None:
            while not done.wait(0.01):
                server.command("CLIENT", "KILL", "TYPE", "normal")

        cutting = threading.Thread(target=cut)
        cutting.start()
        # When all have counted
        try:
            results = [each.result(60) for each in [background.submit(count, number) for number in range(8)]]
        finally:
            done.set()
            cutting.join()
        # Then every count is there
        assert results == list(range(8))
        assert [server.command("GET", f"count-{number}") for number in range(8)] == ["200"] * 8


def _done(future: Future[Any], seconds: float) -> bool:
    try:
        future.result(seconds)
    except TimeoutError:
        return False
    return True


def _told(connections: Connections) -> None:
    """Writes, and raises the refusal as the store does: at once, for nobody is as patient as that."""
    try:
        write(connections, patience=100_000)
    except redis.RedisError as error:
        raise translate(error, connections.address.url) from error


def _error(connections: Connections, patience: float = 10.0) -> Exception | None:
    try:
        write(connections, patience=patience)
    except redis.RedisError as error:
        return translate(error, connections.address.url)
    except StoreError as error:
        return error
    return None


def _until(condition: Callable[[], bool], seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
