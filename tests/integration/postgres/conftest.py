"""A server and an empty database for each test; what depends on a server of its own starts one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.postgres import PostgresServer, shared_postgres


@pytest.fixture
def server() -> PostgresServer:
    """The one that all tests share: none stops it or changes its settings."""
    return shared_postgres()


@pytest.fixture
def database(server: PostgresServer) -> Iterator[str]:
    """The name of an empty database."""
    name = server.create_database()
    yield name
    server.drop_database(name)


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server of this test alone."""
    with PostgresServer() as server:
        yield server
