"""Channels between processes: whole messages, halves of them, garbage, and ends that are gone."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest

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
    reader.join(20)
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
