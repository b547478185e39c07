"""The proxy that stands for a bad network does what the tests of faults rely on."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.servers.proxy import Proxy


class _Echo(socketserver.BaseRequestHandler):
    heard: list[bytes]

    def handle(self) -> None:
        with contextlib.suppress(ConnectionResetError):
            while data := self.request.recv(100):
                self.server.heard.append(data)  # type: ignore[attr-defined]  # our own attribute
                self.request.sendall(data)


@pytest.fixture
def echo() -> Iterator[socketserver.ThreadingTCPServer]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Echo) as server:
        server.daemon_threads = True
        server.heard = []  # type: ignore[attr-defined]  # our own attribute
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: socketserver.ThreadingTCPServer) -> Iterator[Proxy]:
    with Proxy("127.0.0.1", echo.server_address[1]) as proxy:
        yield proxy


def _connect(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=60)


def _ask(connection: socket.socket, word: bytes) -> bytes:
    connection.sendall(word)
    return connection.recv(100)


def _silent(connection: socket.socket) -> bool:
    """Whether nothing comes for a moment: neither bytes, nor an end."""
    connection.settimeout(0.1)
    try:
        connection.recv(100)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(60)
    return False


def test_what_a_silent_network_held_back_arrives_when_it_heals(proxy: Proxy) -> None:
    with _connect(proxy) as before:
        assert _ask(before, b"one") == b"one"
        proxy.silence()
        before.sendall(b"two")
        with _connect(proxy) as during:
            during.sendall(b"three")
            assert _silent(before)
            assert _silent(during)
            proxy.heal()
            assert during.recv(100) == b"three"
        assert before.recv(100) == b"two"


def test_an_answer_is_lost_and_its_request_is_not(proxy: Proxy, echo: socketserver.ThreadingTCPServer) -> None:
    with _connect(proxy) as connection:
        proxy.silence(requests=False)
        connection.sendall(b"one")
        deadline = time.monotonic() + 60
        while not echo.heard and time.monotonic() < deadline:  # type: ignore[attr-defined]  # our own attribute
            time.sleep(0.005)
        assert echo.heard == [b"one"]  # type: ignore[attr-defined]  # our own attribute
        assert _silent(connection)
        proxy.heal(cut=True)
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    with _connect(proxy) as fresh:
        assert _ask(fresh, b"two") == b"two"


def test_who_closes_in_silence_is_not_heard(proxy: Proxy, echo: socketserver.ThreadingTCPServer) -> None:
    with _connect(proxy) as connection:
        assert _ask(connection, b"one") == b"one"
        proxy.silence()
    assert proxy.cut() == 1  # the way to the server was still open


def test_connections_are_cut_refused_and_come_back(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        assert _ask(connection, b"one") == b"one"
        assert proxy.cut() == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(100)
    proxy.refuse()
    with pytest.raises(ConnectionResetError), _connect(proxy) as refused:
        _ask(refused, b"two")
    proxy.heal()
    with _connect(proxy) as connection:
        assert _ask(connection, b"three") == b"three"


def test_an_answer_that_is_chosen_is_lost_once(proxy: Proxy, echo: socketserver.ThreadingTCPServer) -> None:
    proxy.cut_after(1)
    with _connect(proxy) as connection:
        assert _ask(connection, b"one") == b"one"
        with pytest.raises(ConnectionResetError):
            _ask(connection, b"two")
    assert echo.heard == [b"one", b"two"]  # type: ignore[attr-defined]  # our own attribute
    with _connect(proxy) as connection:
        assert _ask(connection, b"three") == b"three"


def test_a_slow_network_takes_its_time_and_nothing_else(proxy: Proxy) -> None:
    with _connect(proxy) as connection:
        proxy.slow(0.05)
        began = time.monotonic()
        assert _ask(connection, b"one") == b"one"
        assert time.monotonic() - began >= 0.1


def test_it_leads_to_another_server(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, _connect(proxy) as connection:
        assert _ask(connection, b"one") == b"one"
        proxy.redirect("127.0.0.1", other.getsockname()[1])
        with _connect(proxy) as moved:
            accepted, _ = other.accept()
            with accepted:
                moved.sendall(b"two")
                assert accepted.recv(100) == b"two"


def test_a_server_that_is_not_there_resets(proxy: Proxy) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    proxy.redirect("127.0.0.1", port)
    with pytest.raises(ConnectionResetError), _connect(proxy) as connection:
        _ask(connection, b"one")
