"""Servers that can be used, and what they keep; servers that cannot, and the one sentence for each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources
from pathlib import Path

import pytest

from tenuto.errors import StoreError, StoreReadOnly, StoreUnavailable
from tenuto.orchestrator import Orchestrator
from tenuto.stores import open_store
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.rights import check_rights, commands, script_commands
from tenuto.stores.redis.server import Persistence, Server, examine, judged
from tests.servers.redis import RedisServer, installations, shared_redis
from tests.servers.strangers import silent_address, talker


@contextmanager
def connections(url: str) -> Iterator[Connections]:
    """Connections to the server at a URL."""
    made = Connections(Address.of(url))
    try:
        yield made
    finally:
        made.close()


def examined(url: str, run: Iterable[str] = ("HSET", "TIME", "ZADD", "ZRANGE")) -> Server:
    """What is found out about the server at a URL, for scripts that run these commands."""
    with connections(url) as made:
        server = examine(made)
        check_rights(made, run)
        return server


@pytest.mark.parametrize("version", installations())
def test_every_supported_server_can_be_used(version: str) -> None:
    # Given a server, when it is examined
    server = examined(shared_redis(version).url(namespace="examined"))
    # Then it is known, and nothing is left behind
    assert server.name.lower().replace(" ", "").startswith(version)
    assert server.persistence is Persistence.NOTHING
    assert "a restart loses everything" in server.durability
    assert shared_redis(version).command("KEYS", "examined:*") == []


@pytest.mark.parametrize(
    ("settings", "persistence", "words"),
    [
        ({"save": "3600 1"}, Persistence.SNAPSHOTS, "since the last one"),
        ({"appendonly": "everysec"}, Persistence.EVERYSEC, "about a second"),
        ({"appendonly": "always"}, Persistence.ALWAYS, "loses nothing that was answered"),
        ({"appendonly": "no", "appendfsync": "no"}, Persistence.NOTHING, "no persistence"),
        ({"appendonly": "yes", "appendfsync": "no"}, Persistence.SYSTEM, "operating system"),
    ],
)
def test_what_the_server_keeps_is_said(settings: dict[str, str], persistence: Persistence, words: str) -> None:
    with RedisServer(**settings) as server:
        found = examined(server.url())
    assert found.persistence is persistence
    assert words in found.durability


async def test_what_can_be_lost_is_said_once_when_a_program_starts(capsys: pytest.CaptureFixture[str]) -> None:
    # Given a server that keeps nothing, when an orchestrator uses it for a while
    async with Orchestrator(store=shared_redis().url(namespace="said")) as orchestrator:
        await orchestrator.stats()
        await orchestrator.stats()
    # Then that was said once; and a store that is only looked at says nothing
    store = open_store(shared_redis().url(namespace="said"))
    await store.open()
    await store.close()
    assert capsys.readouterr().err.count("a restart loses everything") == 1


def test_replicas_are_counted() -> None:
    with RedisServer() as master, RedisServer() as replica:
        replica.follow(master)
        assert "a failover can lose" in examined(master.url()).durability
        waits = examined(master.url(wait_replicas=1))
    assert (waits.replicas, waits.wait_replicas) == (1, 1)
    assert "once a replica confirmed it" in waits.durability


# -- servers that cannot be used ---------------------------------------------------------------------------


@pytest.mark.parametrize("version", installations())
def test_a_cluster_is_recognised(version: str) -> None:
    with RedisServer(version, cluster_enabled="yes") as server:
        with pytest.raises(StoreError, match="is a Redis Cluster, which Tenuto cannot use yet"):
            examined(server.url())
        with pytest.raises(StoreError, match=r"is a Redis Cluster|has no database of that number"):
            examined(server.url(3))


@pytest.mark.parametrize("version", installations())
def test_a_replica_is_refused(version: str) -> None:
    with RedisServer(version) as master, RedisServer(version) as replica:
        replica.follow(master)
        with pytest.raises(StoreReadOnly, match=rf"replica of 127.0.0.1:{master.port}. Name the master"):
            examined(replica.url())


def test_a_server_that_evicts_keys_is_refused() -> None:
    with RedisServer(maxmemory_policy="allkeys-lru") as server, pytest.raises(StoreError) as caught:
        examined(server.url())
    assert "maxmemory-policy allkeys-lru" in str(caught.value)
    assert "set maxmemory-policy noeviction" in str(caught.value)


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({"redis_version": "6.0.16"}, "is on Redis 6.0.16, and Tenuto needs 6.2 or later"),
        ({"redis_version": "5.0.7"}, "needs 6.2 or later"),
        ({"redis_version": "7.2.4", "redis_mode": "sentinel"}, "is a Sentinel"),
        ({"redis_version": "7.2.4", "loading": "1"}, "is loading its data"),
    ],
)
def test_old_servers_and_others_are_refused(info: dict[str, str], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        judged(info, {}, "redis://host/0")


@pytest.mark.parametrize("version", installations())
@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        ("", "wrong", "the user or the password in its URL is wrong"),
        ("nobody", "secret", "the user or the password in its URL is wrong"),
        ("", "", "asks for a password"),
    ],
)
def test_who_may_not_enter_is_told_why(version: str, user: str, password: str, words: str) -> None:
    with RedisServer(version, requirepass="right") as server, pytest.raises(StoreError, match=words) as caught:
        examined(server.url(user=user, password=password))
    assert not isinstance(caught.value, StoreUnavailable)
    for secret in ("wrong", "secret", "right"):
        assert secret not in str(caught.value).replace("is wrong", "")


def test_a_password_with_special_characters_is_percent_encoded() -> None:
    with RedisServer(requirepass="a/b@c:d?e%f") as server:
        assert examined(server.url()).name


def test_a_database_that_is_not_there() -> None:
    with pytest.raises(StoreError, match="has no database of that number"):
        examined(shared_redis().url(99))


def test_nobody_listens() -> None:
    server = RedisServer()
    with pytest.raises(StoreUnavailable, match="Check that the server runs"):
        examined(server.url())
    with pytest.raises(StoreUnavailable, match="Check that the server runs"):
        examined("redis://no-such-host.invalid:6379/0")
    with pytest.raises(StoreUnavailable, match="Check that the server runs"):
        examined(server.url(unix=True))
    server.close()


def test_a_password_for_a_server_that_has_none() -> None:
    with pytest.raises(StoreError, match="has a password, and its server has none") as caught:
        examined(f"redis://:secret@127.0.0.1:{shared_redis().port}/0")
    assert not isinstance(caught.value, StoreUnavailable)


def test_something_else_listens() -> None:
    with (
        talker(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port,
        pytest.raises(StoreError, match="does not speak the protocol of Redis") as caught,
    ):
        examined(f"redis://127.0.0.1:{port}/0")
    assert not isinstance(caught.value, StoreUnavailable)


def test_an_address_that_takes_no_connections_is_not_waited_for_for_ever() -> None:
    with silent_address() as port, pytest.raises(StoreUnavailable, match="nothing answers at that address in time"):
        examined(f"redis://127.0.0.1:{port}/0?socket_connect_timeout=0.2")


def test_a_server_that_says_nothing_is_not_waited_for_for_ever() -> None:
    with RedisServer() as server:
        server.freeze()
        with pytest.raises(StoreUnavailable, match="gave no answer in time"):
            examined(server.url(socket_timeout=0.2, socket_connect_timeout=0.2))


# -- users with few rights ---------------------------------------------------------------------------------

DOCUMENT = Path(__file__).parents[3] / "docs" / "redis.md"


def documented_rights() -> list[str]:
    """What the document tells to give the user."""
    (line,) = re.findall(r"ACL SETUSER tenuto on >password (.*)", DOCUMENT.read_text(encoding="utf-8"))
    return str(line).split()


@pytest.mark.parametrize("version", installations())
@pytest.mark.parametrize(
    ("less", "words"),
    [
        ((), ""),
        (("-config",), ""),
        (("-hset",), "it may not use .*HSET"),
        (("-zadd", "-zrange"), "it may not use .*ZADD"),
        (("-@scripting",), "does not let this user"),
        (("-info",), "does not let this user"),
        (("resetkeys", "~other:*"), "does not let this user"),
        (("resetchannels", "&other:*"), "does not let this user"),
        (("-publish",), "does not let this user"),
        (("-evalsha",), "does not let this user"),
        (("-wait",), "does not let this user"),
    ],
)
def test_rights(version: str, less: tuple[str, ...], words: str) -> None:
    # Given a user with the rights that the documents name, or fewer
    server = shared_redis(version)
    with ExitStack() as stack:
        name = f"bob{abs(hash(less)) % 10_000}"
        server.command("ACL", "SETUSER", name, "reset", "on", ">secret", "resetchannels", *documented_rights(), *less)
        stack.callback(server.command, "ACL", "DELUSER", name)
        url = server.url(user=name, password="secret", namespace="billing", wait_replicas=1)
        # When the server is examined, then it can be used, or the sentence says what is not allowed
        if not words:
            assert examined(url, script_commands()).name
            return
        with pytest.raises(StoreError, match=words) as caught:
            examined(url)
        assert "docs/redis.md" in str(caught.value)
        assert server.command("KEYS", "billing:*") == []


def test_commands_are_found_in_the_text_of_scripts() -> None:
    text = """
      redis.call('HSET', key, 'LIMIT') redis.pcall("zadd", x) call('TIME')
      redis.call(
        'XADD', key)
      redis.call(defined and 'SADD' or 'SREM', key)
      session.in_parts('HDEL', key, list)
    """
    assert commands(text) == {"HSET", "ZADD", "TIME", "XADD", "SADD", "SREM", "HDEL"}


@pytest.mark.parametrize("version", installations())
def test_no_command_of_the_scripts_is_overlooked(version: str) -> None:
    # Given all words of the scripts that are commands of the server
    folder = Path(str(resources.files("tenuto.stores.redis"))) / "lua"
    words = sorted({word for path in folder.rglob("*.lua") for word in re.findall(r"'([A-Z]{3,})'", path.read_text())})
    with connections(shared_redis(version).url()) as made:
        (known,) = made.ask([("COMMAND", "INFO", *words)])
    # Then each of them was found
    assert {word for word, each in zip(words, known, strict=True) if each} <= script_commands()
