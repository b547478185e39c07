"""TLS: with the authority's certificate it works, and everything else is said in a sentence."""

from __future__ import annotations

import pytest

from tenuto.errors import StoreError, StoreUnavailable
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.connection import Connections
from tests.servers.redis import shared_redis
from tests.servers.tls import TlsFront


def ask(url: str) -> bytes:
    """What the server at a URL answers to a ping."""
    connections = Connections(Address.of(url))
    try:
        (answer,) = connections.ask([("PING",)], patience=0)
    finally:
        connections.close()
    assert isinstance(answer, bytes)
    return answer


def test_with_the_authority_s_certificate() -> None:
    with TlsFront(shared_redis().socket) as front:
        assert ask(f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={front.authority}") == b"PONG"


def test_a_certificate_that_nobody_vouches_for_is_refused_unless_that_is_asked_for() -> None:
    with TlsFront(shared_redis().socket) as front:
        with pytest.raises(StoreError, match="cannot be reached over TLS as the URL asks") as caught:
            ask(f"rediss://127.0.0.1:{front.port}/0")
        assert not isinstance(caught.value, StoreUnavailable)
        assert "ssl_ca_certs" in str(caught.value)
        assert ask(f"rediss://127.0.0.1:{front.port}/0?ssl_cert_reqs=none") == b"PONG"


def test_a_certificate_for_another_host_is_refused_unless_that_is_asked_for() -> None:
    with TlsFront(shared_redis().socket, name="redis.example.org") as front:
        url = f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={front.authority}"
        with pytest.raises(StoreError, match="cannot be reached over TLS as the URL asks"):
            ask(url)
        assert ask(f"{url}&ssl_check_hostname=false") == b"PONG"


def test_a_client_s_own_certificate() -> None:
    with TlsFront(shared_redis().socket, client_certificates=True) as front:
        url = f"rediss://127.0.0.1:{front.port}/0?ssl_ca_certs={front.authority}"
        assert ask(f"{url}&ssl_certfile={front.certificate}&ssl_keyfile={front.key}") == b"PONG"
        with pytest.raises(StoreError):
            ask(url)


def test_a_server_without_tls() -> None:
    with pytest.raises(StoreError, match="speaks no TLS"):
        ask(f"rediss://127.0.0.1:{shared_redis().port}/0?socket_timeout=0.5&socket_connect_timeout=0.5")
