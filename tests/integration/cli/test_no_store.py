"""Where there is no store, reading says so and makes nothing; whatever writes makes one."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.integration.cli.program import Program
from tests.servers.postgres import shared_postgres
from tests.servers.redis import shared_redis

_READING = (
    "task list",
    "task show x",
    "task events",
    "task cancel x",
    "goal list",
    "schedule list",
    "store info",
    "store check",
    "store purge --older-than 1d --yes",
)


@dataclass
class Nowhere:
    """A place where a store could be."""

    url: str
    content: Callable[[], object]
    """what is there"""
    migrates: bool


def _sqlite(home: Path) -> Nowhere:
    path = home / "empty.db"
    path.touch()
    return Nowhere(str(path), lambda: [(each.name, each.stat().st_size) for each in home.glob("empty*")], migrates=True)


def _postgres(home: Path) -> Nowhere:
    server = shared_postgres()
    name = server.create_database()

    def schemas() -> object:
        with server.connect(name) as admin:
            return admin.execute("SELECT nspname FROM pg_namespace ORDER BY nspname").fetchall()

    return Nowhere(server.url(name), schemas, migrates=True)


def _redis(home: Path) -> Nowhere:
    namespace = f"t_{secrets.token_hex(8)}"
    url = shared_redis().url(namespace=namespace)
    return Nowhere(url, lambda: shared_redis().command("KEYS", f"{namespace}:*"), migrates=False)


@pytest.fixture(params=[_sqlite, _postgres, _redis])
def nowhere(request: pytest.FixtureRequest, tmp_path: Path) -> Nowhere:
    make: Callable[[Path], Nowhere] = request.param
    return make(tmp_path)


def test_reading_says_that_there_is_no_store_and_makes_none(tenuto: Program, nowhere: Nowhere) -> None:
    before = nowhere.content()
    for command in _READING:
        told = tenuto(*command.split(), "--store", nowhere.url, code=3)
        assert told.err.startswith("tenuto: there is no Tenuto store at "), command
        assert "the first submission or worker makes one" in told.err
        assert told.err.count("\n") == 1
        assert nowhere.content() == before, command


def test_submitting_makes_one(tenuto: Program, nowhere: Nowhere) -> None:
    task = tenuto("task", "submit", "double", "--payload", "1", "--store", nowhere.url).out.strip()
    assert task in tenuto("task", "list", "--format", "json", "--store", nowhere.url).out


def test_migrating_makes_one_where_there_is_a_schema(tenuto: Program, nowhere: Nowhere) -> None:
    before = nowhere.content()
    told = tenuto("store", "migrate", "--store", nowhere.url).out
    if nowhere.migrates:
        assert told.startswith("Schema 0 is now ")
        assert tenuto("store", "check", "--store", nowhere.url).out == "Sound.\n"
    else:
        assert told.startswith("There is nothing to migrate")
        assert nowhere.content() == before
        assert tenuto("store", "migrate", "--format", "json", "--store", nowhere.url).json["after"] is None
