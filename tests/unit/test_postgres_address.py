"""URLs of PostgreSQL: what they name, and what is wrong with those that name nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.postgres.connection import Address


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        (
            "postgresql://ann:secret@host:7000/app",
            {"user": "ann", "password": "secret", "host": "host", "port": "7000"},
        ),
        ("postgres://host/app", {"host": "host", "dbname": "app"}),
        ("postgresql://ann:p%40%2Fw@host/a%40b", {"password": "p@/w", "host": "host", "dbname": "a@b"}),
        ("postgresql://one:1,two:2/app", {"host": "one,two", "port": "1,2"}),
        ("postgresql:///app?host=/run/postgresql", {"host": "/run/postgresql", "dbname": "app"}),
        ("postgresql://host/app?user=ann@azure&password=p@w", {"host": "host", "user": "ann@azure", "password": "p@w"}),
    ],
)
def test_what_a_url_names(url: str, parameters: dict[str, Any]) -> None:
    found = Address.of(url).parameters
    assert {name: found.get(name) for name in parameters} == parameters


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("postgresql://host/app?schmea=jobs", "which a PostgreSQL store has not"),
        ("postgresql://host/app?schema", "cannot be read"),
        ("postgresql://host/app?schema=Jobs", "lower-case letters"),
        ("postgresql://host/app?schema=a&schema=b", "'schema' twice"),
        ("postgresql://host/app?sslmode=disable&sslmode=require", "'sslmode' twice"),
        ("postgresql://host:99999/app", "port '99999'"),
        ("postgresql://host/app?connect_timeout=soon", "whole seconds"),
    ],
)
def test_what_names_nothing(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Address.of(url)


@pytest.mark.parametrize("password", ["se@cret", "se/cret", "12/cret", "s@e/cret", "s/e@cret", "s@e@cret"])
def test_a_password_that_was_not_encoded_is_not_taken_for_a_host(password: str) -> None:
    with pytest.raises(InvalidInput, match="percent-encoded") as caught:
        Address.of(f"postgresql://ann:{password}@host/app")
    assert "cret" not in str(caught.value)
