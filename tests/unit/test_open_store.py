"""Store URLs: what they name, and what is wrong with those that name nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tenuto.errors import InvalidInput, MissingExtra
from tenuto.stores import masked, open_store
from tenuto.stores.memory import MemoryStore
from tenuto.stores.postgres import PostgresStore
from tenuto.stores.redis import RedisStore
from tenuto.stores.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///some/tenuto.db", Path.cwd() / "some/tenuto.db"),
        ("sqlite:////some/tenuto.db", Path("/some/tenuto.db")),
        ("sqlite:///with%20space.db", Path.cwd() / "with space.db"),
        ("some/tenuto.db", Path.cwd() / "some/tenuto.db"),
        ("/some/tenuto.db", Path("/some/tenuto.db")),
    ],
)
def test_files(url: str, path: Path) -> None:
    store = open_store(url)
    assert isinstance(store, SqliteStore)
    assert store.path == path


def test_memory() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "empty"),
        ("sqlite:tenuto.db", "lacks slashes"),
        ("sqlite://host/tenuto.db", "local file"),
        ("sqlite:///", "names no file"),
        ("sqlite:///tenuto.db?mode=ro", "parameters"),
        ("memory://name", "no store URL"),
        ("mysql://host/name", "no store URL"),
        ("sqlite:///a\x00b", "unprintable"),
    ],
)
def test_what_is_no_store_url(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        open_store(url)


def test_postgresql() -> None:
    store = open_store("postgresql://ann:secret@host/name?schema=mine")
    assert isinstance(store, PostgresStore)
    assert store.url == "postgresql://***@host/name?schema=mine"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://ann:secret@host/name", "postgresql://***@host/name"),
        ("postgresql://ann:se@cr/et@host/name", "postgresql://***@host/name"),
        (
            "postgresql://host/name?user=ann&password=secret&sslmode=require",
            "postgresql://host/name?user=ann&password=***&sslmode=require",
        ),
        ("sqlite:///some/tenuto.db", "sqlite:///some/tenuto.db"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://ann:secret@host:port/name", "the port"),
        ("postgresql://ann:secret@host:99999/name", "the port"),
        ("postgresql://ann:secret@host/name?schema=Mine", "the schema"),
        ("postgresql://ann:secret@host/name?schema=pg_own", "the schema"),
        ("postgresql://ann:secret@host/name?prepare=never", "prepare"),
        ("postgresql://ann:secret@host/name?pool=3", "the parameter 'pool'"),
        ("postgresql://ann:secret@host/name?pool", "cannot be read"),
        ("postgresql://ann:secret@host/name?connect_timeout=soon", "connect_timeout"),
        ("postgresql://ann:se cret@host/name", "percent-encoded"),
        ("postgresql://ann:secret%zz@host/name", "percent-encoded"),
        ("postgresql:name", "no store URL"),
    ],
)
def test_a_postgresql_url_that_cannot_be_used_keeps_its_secret(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)
    assert "cret@" not in str(caught.value)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtra, match=r"install tenuto\[postgres\]") as caught:
        open_store("postgresql://ann:secret@host/name")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("scheme", ["redis", "rediss", "valkey", "valkeys", "REDIS"])
def test_redis(scheme: str) -> None:
    store = open_store(f"{scheme}://ann:secret@host:7000/3?namespace=mine")
    assert isinstance(store, RedisStore)
    assert store.url == f"{scheme}://***@host:7000/3?namespace=mine"


def test_redis_over_a_unix_socket() -> None:
    assert isinstance(open_store("redis+unix:///run/redis/socket?db=2"), RedisStore)


@pytest.mark.parametrize(
    ("url", "why"),
    [("redis:host", "no store URL"), ("redis://ann:secret@host/name", "the database"), ("redis://h?x=1", "parameter")],
)
def test_a_redis_url_that_cannot_be_used(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        open_store(url)
    assert "secret" not in str(caught.value)


def test_without_redis_py_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(MissingExtra, match=r"install tenuto\[redis\]") as caught:
        open_store("redis://ann:secret@host:6379/0")
    assert "secret" not in str(caught.value)
