"""URLs of Redis: what they name, and what is wrong with those that name nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.stores.redis.address import Address


@pytest.mark.parametrize(
    ("url", "parameters"),
    [
        ("redis://", {"host": "localhost", "port": 6379, "db": 0}),
        ("redis://host", {"host": "host", "port": 6379, "db": 0}),
        ("redis://host:7000/3", {"host": "host", "port": 7000, "db": 3}),
        ("valkey://host/?db=4", {"host": "host", "db": 4}),
        ("REDIS://host/1", {"host": "host", "db": 1}),
        ("redis://[::1]:7000/0", {"host": "::1", "port": 7000}),
        ("redis://:p%40%2F%3Fw@host/0", {"password": "p@/?w"}),
        ("redis://ann:secret@host/0", {"username": "ann", "password": "secret"}),
        ("redis+unix:///run/redis.sock?db=2", {"path": "/run/redis.sock", "db": 2}),
        ("valkey+unix://ann:pw@/run/a%20b?db=0", {"path": "/run/a b", "username": "ann", "password": "pw"}),
        ("rediss://host?ssl_cert_reqs=none", {"ssl_cert_reqs": "none", "ssl_check_hostname": False}),
        ("redis://host?socket_timeout=1.5", {"socket_timeout": 1.5, "socket_connect_timeout": 5.0}),
    ],
)
def test_what_a_url_names(url: str, parameters: dict[str, Any]) -> None:
    found = Address.of(url).parameters
    assert {name: found.get(name) for name in parameters} == parameters


def test_settings_of_ours() -> None:
    address = Address.of("redis://host/0?namespace=billing&wait_replicas=2&wait_timeout=0.5&max_connections=7")
    assert address.prefix == "billing:"
    assert (address.wait_replicas, address.wait_timeout, address.max_connections) == (2, 0.5, 7)
    assert Address.of("redis://host/0").prefix == ""


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://host:99999", "cannot be read"),
        ("redis://host:port", "cannot be read"),
        ("redis://host:0/0", "port 0"),
        ("redis://host/name", "names the database 'name'"),
        ("redis://host/1/2", "names the database"),
        ("redis://host/0#top", "fragment"),
        ("redis://[::1/0", "cannot be read"),
        ("redis://host/1?db=2", "two databases"),
        ("redis://host?namespace=a&namespace=b", "'namespace' twice"),
        ("redis://host?namespace", "cannot be read"),
        ("redis://host?namespace=", "namespace=''"),
        ("redis://host?namespace=a:b", "letters, digits"),
        ("redis://host?namespace={a}", "letters, digits"),
        ("redis://host?namespace=task", "another word"),
        ("redis://host?db=-1", "db='-1'"),
        ("redis://host?wait_replicas=two", "whole number"),
        ("redis://host?wait_replicas=²", "whole number"),
        ("redis://host?max_connections=1", "from 2 to"),
        ("redis://host?socket_timeout=0", "use seconds"),
        ("redis://host?socket_timeout=nan", "use seconds"),
        ("redis://host?timeout=5", "which a Redis store has not"),
        ("redis://host?ssl_cert_reqs=none", "write rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "required or none"),
        ("rediss://host?ssl_ca_certs=/no/such/file", "no such file"),
        ("redis+unix://host/path", "names no Unix socket"),
        ("redis+unix://", "names no Unix socket"),
    ],
)
def test_what_names_nothing(url: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        Address.of(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://ann:secret@host/0",
        "redis://:secret@host:port/0",
        "redis://:sec/ret@host/0",
        "redis://:secret?@host/0",
        "redis://:a@secret@host/x",
        "redis://host/0?password=secret",
        "redis+unix://ann:secret@host/path",
    ],
)
def test_secrets_are_never_shown(url: str) -> None:
    try:
        address = Address.of(url)
    except InvalidInput as error:
        shown = str(error)
    else:
        shown = f"{address.url} {address!r}"
    assert "secret" not in shown
    assert "sec/ret" not in shown


def test_paths_of_certificates(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.touch()
    assert Address.of(f"rediss://host?ssl_ca_certs={file}").parameters["ssl_ca_certs"] == str(file)


@pytest.mark.parametrize("password", ["se/cret", "12/cret", "s@e/cret", "s/e@cret"])
def test_a_password_that_was_not_encoded_is_not_taken_for_a_database(password: str) -> None:
    with pytest.raises(InvalidInput, match="percent-encoded") as caught:
        Address.of(f"redis://ann:{password}@host/0")
    assert "cret" not in str(caught.value)
