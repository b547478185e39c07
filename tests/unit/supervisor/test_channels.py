"""Channels between processes: whole messages, halves of them, garbage, and ends that are gone."""

from __future__ import annotations

import select
import signal
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.supervisor import channels
from tenuto.supervisor.channels import LocalChannel, SocketAgentEnd, SocketOrchestratorEnd, decoded
from tenuto.supervisor.messages import Message, MessageKind


def message(kind: MessageKind = MessageKind.MESSAGE, **values: Any) -> Message:
    return Message(kind=kind, agent="a", generation=1, **values)


class Pair:
    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.end = SocketOrchestratorEnd("a", 1, self.ours)
        self.agent = SocketAgentEnd(self.theirs)

    def received(self) -> list[Message]:
        return list(self.end.receive())


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.end.close()
    made.agent.close()


class Color(Enum):
    RED = 1


class Own:
    """Lives in this module, so it travels by name."""

    def __init__(self, value: int) -> None:
        self.value = value


class LeavesWhenRead:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def test_whole_messages_in_order_with_any_content(pair: Pair) -> None:
    for content in (None, 1, "text", b"\0\1", {"a": [1, None]}, Own(7)):
        pair.agent.send(message(content=content, fields={"n": 1, "color": Color.RED}))
    pair.agent.send(message(MessageKind.HEARTBEAT, fields={"odd": object}))
    found = pair.received()
    assert [each.content for each in found[:5]] == [None, 1, "text", b"\0\1", {"a": [1, None]}]
    assert found[5].content.value == 7
    assert found[0].fields == {"n": 1, "color": Color.RED}  # as it was, not its value
    assert found[6].fields == {"odd": repr(object)}
    assert pair.received() == []


def test_half_a_message_waits_for_its_other_half_and_nobody_waits_for_it(pair: Pair) -> None:
    other, wire = socket.socketpair()
    sender = SocketAgentEnd(other)
    sender.send(message(content="x" * 100))
    data = wire.recv(10_000)
    for at in range(0, len(data), 7):
        assert pair.received() == []
        pair.theirs.sendall(data[at : at + 7])
    assert [each.content for each in pair.received()] == ["x" * 100]
    sender.close()
    wire.close()


def test_the_last_message_says_that_nothing_more_comes(pair: Pair) -> None:
    pair.agent.send(message(MessageKind.TERMINATED))
    pair.agent.close()
    assert [each.kind for each in pair.received()] == [MessageKind.TERMINATED, MessageKind.CLOSED]
    assert pair.received() == []


def test_what_cannot_be_read_is_an_error_and_the_next_message_comes(pair: Pair) -> None:
    pair.theirs.sendall(struct.pack("!I", 3) + b"\xc1\xc1\xc1")
    pair.agent.send(message(content="after"))
    error, after = pair.received()
    assert (error.kind, error.fields["recoverable"]) == (MessageKind.ERROR, True)
    assert after.content == "after"


def test_a_length_that_is_none_ends_the_channel(pair: Pair) -> None:
    pair.theirs.sendall(b"\xff" * 64)
    assert [each.kind for each in pair.received()] == [MessageKind.ERROR, MessageKind.CLOSED]


def test_an_agent_that_does_not_read_is_told_what_fits_and_gets_it_in_the_end(pair: Pair) -> None:
    taken = 0
    while pair.end.send(message(content="x" * 1_000_000)):
        taken += 1
    assert taken >= 16
    got: list[str] = []

    def read() -> None:
        while len(got) < taken:
            frame = pair.agent.receive()
            assert frame is not None
            got.append(decoded(frame).content)

    reader = threading.Thread(target=read)
    reader.start()
    while not pair.end.flush():
        continue
    reader.join(60)
    assert got == ["x" * 1_000_000] * taken


def test_an_agent_learns_that_its_orchestrator_is_gone(pair: Pair) -> None:
    pair.end.send(message(MessageKind.STOP))
    pair.end.close()
    frame = pair.agent.receive()
    assert frame is not None
    assert decoded(frame).kind is MessageKind.STOP
    assert pair.agent.receive() is None
    pair.agent.send(message())  # nobody is there; nothing happens


def test_a_channel_within_a_process_wakes_who_listens() -> None:
    delivered: list[Message] = []
    channel = LocalChannel("a", 1, delivered.append)
    channel.put(message(content=1))
    woken: list[int] = []
    channel.listen(lambda: woken.append(1))
    channel.put(message(content=2))
    channel.finish()
    channel.put(message(content=3))
    assert [each.content for each in channel.receive()[:2]] == [1, 2]
    assert len(woken) == 3
    assert not channel.send(message())
    assert delivered == []


def test_what_ends_the_program_when_it_is_read_ends_nothing(pair: Pair) -> None:
    pair.agent.send(message(content=LeavesWhenRead()))
    pair.agent.send(message(content="after"))
    error, after = pair.received()
    assert error.kind is MessageKind.ERROR
    assert "SystemExit" in error.fields["error_message"]
    assert after.content == "after"


def test_a_message_that_is_too_long_is_refused_where_it_is_made(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "_LARGEST", 10_000)
    with pytest.raises(InvalidInput, match="longer than the 10,000 that a channel takes"):
        pair.agent.send(message(content="x" * 10_000))
    with pytest.raises(InvalidInput, match="longer than"):
        pair.end.send(message(content="x" * 10_000))
    pair.agent.send(message(content="after"))
    assert [each.content for each in pair.received()] == ["after"]


def test_a_message_that_a_signal_interrupts_is_finished_by_the_next(pair: Pair) -> None:
    # Given an agent whose orchestrator does not read at the moment
    def interrupt(_: int, __: object) -> None:
        raise SystemExit

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        with pytest.raises(SystemExit):
            pair.agent.send(message(content="x" * 10_000_000))
    finally:
        signal.signal(signal.SIGALRM, before)
    # When it says a last word
    last = threading.Thread(target=pair.agent.send, args=(message(MessageKind.TERMINATED),))
    last.start()
    found: list[Message] = []
    while len(found) < 2:
        select.select([pair.ours], [], [], 20)
        found += pair.received()
    last.join(60)
    # Then both arrive whole
    assert [each.kind for each in found] == [MessageKind.MESSAGE, MessageKind.TERMINATED]
    assert found[0].content == "x" * 10_000_000


def test_an_agent_in_a_thread_waits_when_nobody_reads_what_it_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    # Given
    monkeypatch.setattr(channels, "_PATIENCE", 60.0)
    channel = LocalChannel("a", 1, lambda message: None)
    most = 0

    def flood() -> None:
        for number in range(20_000):
            channel.put(message(content=number))

    flooding = threading.Thread(target=flood)
    flooding.start()
    # When
    got: list[Any] = []
    while len(got) < 20_000:
        found = [each.content for each in channel.receive()]
        most = max(most, len(found))
        got += found
    flooding.join(60)
    # Then
    assert got == list(range(20_000))
    assert most <= 1_000
