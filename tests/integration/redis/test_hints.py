"""Hints over pub/sub: heard by other stores, at once and then put together, and harmless when they are lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tenuto.stores.base import Hint
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.hints import Hints
from tests.servers.redis import RedisServer, shared_redis

Opener = Callable[[str], Hints]


@pytest.fixture
def opened() -> Iterator[Opener]:
    """Opens the hints of the store at a URL, as one process would have them."""
    with ExitStack() as stack:

        def open_hints(url: str) -> Hints:
            connections = Connections(Address.of(url))
            hints = Hints(connections)
            stack.callback(connections.close)
            stack.callback(hints.close)
            hints.open()
            return hints

        yield open_hints


class Ear:
    """A listener that waits for what it wants to hear."""

    def __init__(self, hints: Hints) -> None:
        self.heard: list[Hint] = []
        self._changed = threading.Condition()
        self.stop = hints.listen(self._listen)

    def _listen(self, hint: Hint) -> None:
        with self._changed:
            self.heard.append(hint)
            self._changed.notify_all()

    def hears(self, wanted: Callable[[list[Hint]], bool], seconds: float = 60.0) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: wanted(self.heard), seconds)


def _ready(agent: str) -> Callable[[list[Hint]], bool]:
    return lambda heard: any(agent in hint.ready for hint in heard)


def test_another_store_hears_what_one_tells(opened: Opener) -> None:
    # Given a listener in another store of the namespace, and one in another namespace
    url = shared_redis().url(namespace="overheard")
    ear, other = Ear(opened(url)), Ear(opened(shared_redis().url(namespace="other")))
    # When something is told
    hint = Hint(frozenset({"a"}), frozenset({"task-1"}))
    opened(url).tell(hint)
    # Then the first hears it as it was told, and the second nothing
    assert ear.hears(_ready("a"))
    assert ear.heard == [hint]
    assert not other.heard


def test_a_store_hears_itself_once(opened: Opener) -> None:
    hints = opened(shared_redis().url(namespace="itself"))
    ear, other = Ear(hints), Ear(opened(shared_redis().url(namespace="itself")))
    hints.tell(Hint(frozenset({"a"})))
    assert ear.heard == [Hint(frozenset({"a"}))]
    assert other.hears(_ready("a"))
    assert len(ear.heard) == 1


def test_the_first_hint_is_heard_within_milliseconds(opened: Opener) -> None:
    # Given a listener and a quiet time
    url = shared_redis().url(namespace="quick")
    ear, hints = Ear(opened(url)), opened(url)
    took = []
    for number in range(20):
        # When one hint is told, and no other soon after it
        begun = time.perf_counter()
        hints.tell(Hint(frozenset({f"agent-{number}"})))
        assert ear.hears(_ready(f"agent-{number}"))
        took.append(time.perf_counter() - begun)
        time.sleep(0.005)
    # Then it did not wait for others to come along, as each of them would
    assert min(took) < 0.01


def test_hints_that_follow_each_other_are_put_together(opened: Opener) -> None:
    # Given a listener
    url = shared_redis().url(namespace="many")
    ear, hints = Ear(opened(url)), opened(url)
    # When a thousand hints are told in a row
    for number in range(1000):
        hints.tell(Hint(frozenset({"a"}), frozenset({f"task-{number}"})))
    hints.tell(Hint(frozenset({"last"})))
    # Then they are all heard, in far fewer messages, and one that would name too many names none
    assert ear.hears(_ready("last"))
    assert len(ear.heard) < 500
    assert any(hint.tasks is None for hint in ear.heard) or {
        task for hint in ear.heard for task in hint.tasks or ()
    } == {f"task-{number}" for number in range(1000)}


def test_after_a_restart_of_the_server_listeners_look_at_everything_and_hear_again(opened: Opener) -> None:
    # Given a listener
    with RedisServer() as server:
        ear, hints = Ear(opened(server.url())), opened(server.url())
        # When the server is killed, and comes back
        server.kill()
        hints.tell(Hint(frozenset({"lost"})))
        server.start()
        # Then it is told that anything may have happened, and hears what comes
        assert ear.hears(lambda heard: Hint(frozenset(), None) in heard)
        hints.tell(Hint(frozenset({"a"})))
        assert ear.hears(_ready("a"))


def test_a_server_that_stands_still_is_left_and_found_again(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a listener that asks after a short silence
    monkeypatch.setattr("tenuto.stores.redis.hints._BEAT", 0.2)
    with RedisServer() as server:
        url = server.url(socket_timeout=0.3, socket_connect_timeout=0.3)
        ear, hints = Ear(opened(url)), opened(url)
        hints.tell(Hint(frozenset({"before"})))
        assert ear.hears(_ready("before"))
        # When the server stands still for longer than that, and goes on
        server.freeze()
        time.sleep(3.0)
        server.thaw()
        # Then the connection was made anew, and hints are heard
        assert ear.hears(lambda heard: Hint(frozenset(), None) in heard)
        hints.tell(Hint(frozenset({"after"})))
        assert ear.hears(_ready("after"))


def test_without_the_right_to_subscribe_it_is_said_once(opened: Opener, capsys: pytest.CaptureFixture[str]) -> None:
    # Given a user that may do everything but subscribe
    with RedisServer() as server:
        server.command("ACL", "SETUSER", "bob", "on", ">secret", "~*", "&*", "+@all", "-subscribe")
        # When somebody listens
        ear = Ear(opened(server.url(user="bob", password="secret")))
        # Then there are no hints, and one line says why
        said = ""
        end = time.monotonic() + 60
        while "polling instead" not in said:
            assert time.monotonic() < end
            time.sleep(0.01)
            said += capsys.readouterr().err
        # And when the right is given, they look at everything and hear what comes
        server.command("ACL", "SETUSER", "bob", "+subscribe")
        assert ear.hears(lambda heard: Hint(frozenset(), None) in heard)
        opened(server.url()).tell(Hint(frozenset({"a"})))
        assert ear.hears(_ready("a"))
    said += capsys.readouterr().err
    assert said.count("polling instead") == 1
    assert "secret" not in said


def test_what_is_no_hint_is_passed_over(opened: Opener) -> None:
    ear = Ear(opened(shared_redis().url(namespace="noise")))
    for data in (b"\xff", b"{}", b'{"from":1}', b'{"from":"x","ready":["a"]}'):
        shared_redis().command("PUBLISH", "noise:hints", data)
    assert ear.hears(_ready("a"))
    assert len(ear.heard) == 1


def test_closing_ends_the_threads(opened: Opener) -> None:
    threads = set(threading.enumerate())
    hints = opened(shared_redis().url(namespace="closing"))
    Ear(hints)
    hints.tell(Hint(frozenset({"a"})))
    hints.close()
    hints.close()
    end = time.monotonic() + 60
    while set(threading.enumerate()) - threads:
        assert time.monotonic() < end, threading.enumerate()
        time.sleep(0.01)
