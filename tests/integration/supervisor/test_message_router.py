"""Messages on real channels, local ones and socket pairs, become events: at once, in order, of the newest start."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tenuto.supervisor.channels import LocalChannel, SocketAgentEnd, SocketOrchestratorEnd
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.message_router import MessageRouter
from tenuto.supervisor.messages import Message, MessageKind

PATIENCE = 60


class Wired:
    """A router on a bus, and what it has told."""

    def __init__(self) -> None:
        self.bus = OrchestratorEventBus()
        self.told: list[Message] = []
        self.closed = threading.Event()
        self.router = MessageRouter(self.bus, self._tell)
        self.links: list[socket.socket] = []

    def _tell(self, message: Message) -> None:
        self.told.append(message)
        if message.kind is MessageKind.CLOSED:
            self.closed.set()

    def process(self, name: str, generation: int = 1) -> SocketAgentEnd:
        """An agent's end of a socket pair whose other end is attached."""
        ours, theirs = socket.socketpair()
        self.links += [ours, theirs]
        self.router.attach(SocketOrchestratorEnd(name, generation, ours))
        return SocketAgentEnd(theirs)

    def thread(self, name: str, generation: int = 1) -> LocalChannel:
        channel = LocalChannel(name, generation, lambda message: None)
        self.router.attach(channel)
        return channel

    def wait(self, count: int) -> None:
        end = time.monotonic() + PATIENCE
        while len(self.told) < count:
            assert time.monotonic() < end, self.told
            time.sleep(0.002)

    def close(self) -> None:
        self.router.stop()
        self.bus.close()
        for link in self.links:
            link.close()


@pytest.fixture
def wired() -> Iterator[Wired]:
    made = Wired()
    yield made
    made.close()


def message(
    kind: MessageKind, agent: str = "a", generation: int = 1, content: object = None, **fields: object
) -> Message:
    return Message(kind=kind, agent=agent, generation=generation, content=content, fields=fields)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_messages_become_events_with_their_fields(wired: Wired, kind: str) -> None:
    send = sender(wired, kind)
    send(message(MessageKind.STARTED, pid=7))
    send(message(MessageKind.READY))
    send(message(MessageKind.HEARTBEAT))
    send(message(MessageKind.ERROR, error_message="no route", agent_name="liar", severity="loud"))
    send(message(MessageKind.MESSAGE, content={"page": 3}))
    send(message(MessageKind.MESSAGE, content="low on paper", severity="warning"))
    send(message(MessageKind.TERMINATED))
    wired.wait(7)

    records = wired.bus.event_store.query(agent_name="a")
    assert [each.event_name for each in records] == [
        "AGENT_STARTED",
        "AGENT_READY",
        "AGENT_HEARTBEAT",
        "AGENT_ERROR",
        "AGENT_MESSAGE",
        "AGENT_MESSAGE",
    ]
    assert [each.severity for each in records[-2:]] == ["info", "warning"]
    assert {each.generation for each in records} == {1}
    assert (records[0].pid, records[3].error_message, records[3].severity) == (7, "no route", "error")
    assert records[4].message == {"page": 3}
    assert wired.told[-1].kind is MessageKind.TERMINATED


def sender(wired: Wired, kind: str) -> Callable[[Message], None]:
    return wired.process("a").send if kind == "process" else wired.thread("a").put


def test_the_order_of_each_agent_is_kept_whoever_else_sends(wired: Wired) -> None:
    ends = [wired.process(f"p{number}").send for number in range(5)] + [wired.thread(f"t{n}").put for n in range(5)]
    names = [f"p{number}" for number in range(5)] + [f"t{number}" for number in range(5)]

    def flood(name: str, send: Callable[[Message], None]) -> None:
        for number in range(200):
            send(message(MessageKind.MESSAGE, name, content=number))

    threads = [threading.Thread(target=flood, args=each) for each in zip(names, ends, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    wired.wait(2_000)
    for name in names:
        assert [each.content for each in wired.told if each.agent == name] == list(range(200))


def test_what_an_older_start_still_sends_is_dropped(wired: Wired) -> None:
    old, new = wired.thread("a", 1), wired.thread("a", 2)
    late = wired.thread("a", 1)
    for channel in (old, late):
        channel.put(message(MessageKind.ERROR, generation=1, error_message="from the grave"))
        channel.finish()
    new.put(message(MessageKind.READY, generation=2))
    wired.wait(1)
    assert [each.kind for each in wired.told] == [MessageKind.READY]
    assert wired.bus.event_store.query("AGENT_ERROR") == []


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_nobody_speaks_for_another_agent_or_start(wired: Wired, kind: str) -> None:
    send = sender(wired, kind)
    send(message(MessageKind.READY, agent="b"))
    send(message(MessageKind.READY, generation=9))
    send(message(MessageKind.READY))
    wired.wait(1)
    assert [(each.agent, each.generation) for each in wired.told] == [("a", 1)]
    assert wired.router.dropped == 2


def test_the_end_of_a_channel_is_the_last_that_is_told_and_everything_before_it_counts(wired: Wired) -> None:
    end = wired.process("a")
    for number in range(500):
        end.send(message(MessageKind.MESSAGE, content=number))
    end.close()
    assert wired.closed.wait(PATIENCE)
    assert [each.content for each in wired.told[:-1]] == list(range(500))
    assert wired.told[-1].kind is MessageKind.CLOSED

    again = wired.process("a", 2)  # its place is free
    again.send(message(MessageKind.READY, generation=2))
    wired.wait(502)


def test_a_detached_channel_is_read_no_more(wired: Wired) -> None:
    gone, stays = wired.process("gone"), wired.process("stays")
    wired.router.detach("gone", 2)  # another start: nothing happens
    gone.send(message(MessageKind.READY, "gone"))
    wired.wait(1)
    wired.router.detach("gone", 1)
    gone.send(message(MessageKind.HEARTBEAT, "gone"))
    stays.send(message(MessageKind.READY, "stays"))
    wired.wait(2)
    assert [each.agent for each in wired.told] == ["gone", "stays"]


def test_a_descriptor_that_was_closed_without_a_word_can_be_used_again(wired: Wired) -> None:
    ours, theirs = socket.socketpair()
    wired.router.attach(SocketOrchestratorEnd("old", 1, ours))
    ours.close()
    theirs.close()
    end = wired.process("new")  # has the same descriptors
    end.send(message(MessageKind.READY, "new"))
    wired.wait(1)
    wired.router.detach("old", 1)
    end.send(message(MessageKind.HEARTBEAT, "new"))
    wired.wait(2)


def test_garbage_on_a_channel_ends_that_channel_alone(wired: Wired) -> None:
    rude, good = wired.process("rude"), wired.process("good")
    wired.links[1].sendall(b"\xff" * 100)
    assert wired.closed.wait(PATIENCE)
    good.send(message(MessageKind.READY, "good"))
    end = time.monotonic() + PATIENCE
    while not wired.bus.event_store.query("AGENT_READY"):
        assert time.monotonic() < end
        time.sleep(0.002)
    assert [each.kind for each in wired.told if each.agent == "rude"] == [MessageKind.ERROR, MessageKind.CLOSED]
    rude.close()


def test_a_hook_that_raises_does_not_end_the_router() -> None:
    seen = threading.Event()

    def hook(each: Message) -> None:
        if each.kind is MessageKind.READY:
            raise RuntimeError("not ready for that")
        seen.set()

    with OrchestratorEventBus() as bus:
        router = MessageRouter(bus, hook)
        channel = LocalChannel("a", 1, lambda each: None)
        router.attach(channel)
        channel.put(message(MessageKind.READY))
        channel.put(message(MessageKind.HEARTBEAT))
        assert seen.wait(PATIENCE)
        router.stop()


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_message_waits_for_nothing(kind: str) -> None:
    arrived = threading.Event()
    with OrchestratorEventBus() as bus:
        router = MessageRouter(bus, lambda each: arrived.set())
        ours, theirs = socket.socketpair()
        local = LocalChannel("a", 1, lambda each: None)
        router.attach(SocketOrchestratorEnd("a", 1, ours) if kind == "process" else local)
        send = SocketAgentEnd(theirs).send if kind == "process" else local.put
        times = []
        for _ in range(200):
            arrived.clear()
            began = time.perf_counter()
            send(message(MessageKind.HEARTBEAT))
            assert arrived.wait(PATIENCE)
            times.append(time.perf_counter() - began)
        router.stop()
        ours.close()
        theirs.close()
    assert sorted(times)[10] < 0.01  # whoever waited for a turn would wait each time; some 0.1 ms on an idle machine


def test_it_starts_and_stops_again_and_leaves_nothing_behind() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with OrchestratorEventBus() as bus:
        before = descriptors(), threading.active_count()
        told: list[Message] = []
        router = MessageRouter(bus, told.append)
        for generation in range(1, 6):
            channel = LocalChannel("a", generation, lambda each: None)
            router.attach(channel)
            channel.put(message(MessageKind.READY, generation=generation))
            end = time.monotonic() + PATIENCE
            while len(told) < generation:
                assert time.monotonic() < end
                time.sleep(0.002)
            router.stop()
        router.stop()
        end = time.monotonic() + PATIENCE
        while descriptors() > before[0] or threading.active_count() > before[1]:
            assert time.monotonic() < end, threading.enumerate()
            time.sleep(0.002)
