"""Many clients at once, and clients that send anything but commands: each good request gets its own answer."""

from __future__ import annotations

import contextlib
import gc
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import zmq

from tenuto.supervisor.addresses import Address
from tenuto.supervisor.command_client import CommandClient
from tests.integration.supervisor.conftest import Kitchen

CLIENTS, EACH = 50, 40
PATIENCE = 60
GREETING = b"\xff" + b"\x00" * 8 + b"\x7f" + b"\x03\x01" + b"NULL".ljust(20, b"\x00") + b"\x00" * 32


def raw(address: str) -> socket.socket:
    """A connection that does not speak ZeroMQ, or only as much of it as it likes."""
    parsed = Address.parse(address)
    if parsed.path is None:
        return socket.create_connection((parsed.host, parsed.port), 10)
    made = socket.socket(socket.AF_UNIX)
    made.connect(str(parsed.path))
    return made


def all_at_once(count: int, work: Callable[[int], None]) -> None:
    failures: list[BaseException] = []
    gate = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            gate.wait(PATIENCE)
            work(number)
        except BaseException as error:  # noqa: BLE001 - the test shows it
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert failures == []


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:*"])
def test_fifty_clients_at_once_get_each_their_own_answer(kitchen: Kitchen, address: str | None) -> None:
    where = kitchen.listen(address).address
    names = list(kitchen.crew.states)

    def work(number: int) -> None:
        with CommandClient(where, timeout=PATIENCE, sender=f"client-{number}") as client:
            for turn in range(EACH):
                name = names[(number + turn) % len(names)]
                assert client.request("status", {"agent": name})["name"] == name

    all_at_once(CLIENTS, work)
    assert len(kitchen.audited()) == min(CLIENTS * EACH, 1_000)
    assert kitchen.bus.event_store.stats().by_event == {"COMMAND_EXECUTED": CLIENTS * EACH}


def test_a_client_that_sends_many_requests_before_it_reads_gets_all_answers(kitchen: Kitchen) -> None:
    where = kitchen.listen().address
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(where)
        for number in range(150):
            dealer.send(json.dumps({"command": "ps", "request_id": number}).encode())
        ids: set[int] = set()
        while len(ids) < 150:
            assert dealer.poll(PATIENCE * 1000)
            ids.add(json.loads(dealer.recv())["request_id"])
    assert ids == set(range(150))


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:*"])
def test_garbage_half_and_oversized_messages_hurt_nobody(kitchen: Kitchen, address: str | None) -> None:
    where = kitchen.listen(address).address
    chance = random.Random(4)
    frame = json.dumps({"command": "stop", "args": ["cook"]}).encode()
    rude = [
        chance.randbytes(5_000),  # no protocol at all
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        GREETING[:20],  # half a greeting
        GREETING + b"\x04\x19\x05READY",  # half a handshake
        GREETING + b"\x04\xff\xff" + chance.randbytes(100),
        GREETING + b"\x06" + struct.pack("!Q", 2**62) + b"x",  # a message of four exabytes
        GREETING + b"\x00" + bytes([len(frame)]) + frame[:10],  # half a message, before the handshake
        b"",
    ]
    held = []

    def work(number: int) -> None:
        if number % 2:
            with CommandClient(where, timeout=PATIENCE) as client:
                for _ in range(EACH // 2):
                    assert len(client.request("ps")) == 4
        else:
            for turn in range(EACH // 2):
                connection = raw(where)
                with contextlib.suppress(ConnectionError):  # it may be cut off already
                    connection.sendall(rude[(number // 2 + turn) % len(rude)])
                if turn % 3:
                    connection.close()
                else:
                    held.append(connection)  # stays connected and says no more

    all_at_once(CLIENTS, work)
    with CommandClient(where, timeout=PATIENCE) as client:
        assert len(client.request("ps")) == 4
    for connection in held:
        connection.close()
    assert {code for name, code in kitchen.audited() if name} == {0}
    assert {code for name, code in kitchen.audited() if not name} <= {400}  # bytes that ZeroMQ's oldest protocol allows
    assert kitchen.crew.calls == []


def test_what_is_too_large_is_cut_off_and_takes_no_memory(kitchen: Kitchen) -> None:
    where = kitchen.listen().address
    with CommandClient(where, timeout=PATIENCE) as client:
        client.request("ps")
        gc.collect()
        before = psutil.Process().memory_info().rss
        with zmq.Context() as context:
            for _ in range(5):
                with context.socket(zmq.DEALER) as large:
                    large.setsockopt(zmq.LINGER, 0)
                    large.setsockopt(zmq.RECONNECT_IVL, -1)
                    large.connect(where)
                    large.send(b" " * 20_000_000)
                    assert not large.poll(200)  # no answer
        assert len(client.request("ps")) == 4
        assert psutil.Process().memory_info().rss - before < 60_000_000
    assert {name for name, _ in kitchen.audited()} == {"ps"}


def test_clients_that_vanish_leave_nothing_behind(kitchen: Kitchen) -> None:
    where = kitchen.listen().address

    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def vanish(_: int) -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.setsockopt(zmq.LINGER, 1_000)
            dealer.connect(where)
            for _ in range(20):
                dealer.send(b'{"command":"stats"}')

    vanish(0)
    before = descriptors()
    all_at_once(10, vanish)
    end = time.monotonic() + PATIENCE
    while descriptors() > before:
        assert time.monotonic() < end
        time.sleep(0.02)
    with CommandClient(where, timeout=PATIENCE) as client:
        assert len(client.request("ps")) == 4
