"""Commands to an orchestrator from outside: what `tenuto ps` and its siblings use, and programs may.

with CommandClient("tcp://127.0.0.1:5570") as client:
    for row in client.request("ps"):
        print(row["name"], row["state"])
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
import zmq

from tenuto.errors import InvalidInput, Unreachable
from tenuto.supervisor.access import TOKEN_VARIABLE
from tenuto.supervisor.addresses import Address
from tenuto.supervisor.requests import error_of_answer, read_answer
from tenuto.supervisor.run_directory import run_directory, short

__all__ = ["ADDRESS_VARIABLE", "CommandClient", "found_address"]

ADDRESS_VARIABLE = "TENUTO_COMMAND_ADDRESS"
_LOOK = 0.5
"""Seconds after which whoever waits for an answer looks whether the orchestrator is still there."""


class CommandClient:
    """Asks one orchestrator. For one thread at a time."""

    def __init__(
        self, address: str | None = None, *, token: str | None = None, timeout: float = 5.0, sender: str = "tenuto"
    ) -> None:
        """address: by default that of `TENUTO_COMMAND_ADDRESS`, else the socket in the run directory.

        token: by default that of `TENUTO_COMMAND_TOKEN`. timeout: seconds that each request may take.
        Raises `Unreachable` when nobody listens there, `InvalidInput` for an address that is none.
        """
        chosen = Address.parse(address or os.environ.get(ADDRESS_VARIABLE) or found_address())
        self.address = chosen.url
        self._token = token or os.environ.get(TOKEN_VARIABLE) or None
        self._timeout = timeout
        self.sender = sender
        self._number = 0
        _knock(chosen, timeout)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        if ":" in chosen.host:
            self._socket.setsockopt(zmq.IPV6, 1)
        self._socket.connect(chosen.url if chosen.path is None else f"ipc://{short(chosen.path)}")

    def request(
        self, command: str, args: Mapping[str, Any] | Sequence[Any] = (), *, timeout: float | None = None
    ) -> Any:
        """Runs `command` there and returns its data.

        Raises what the orchestrator answers with: `InvalidInput` (400), `Forbidden` (403), `NotFound` (404), `Conflict`
        (409), `TenutoError` (500); `Unreachable` when no answer comes in time: what was asked for may be done later.
        """
        self._number += 1
        request_id = f"{os.getpid()}-{self._number}"
        payload = {"command": command, "args": args, "request_id": request_id}
        envelope = {"sender": self.sender, "event_name": "COMMAND", "timestamp": time.time(), "payload": payload}
        if self._token is not None:
            envelope["token"] = self._token
        limit = self._timeout if timeout is None else timeout
        end = time.monotonic() + limit
        self._socket.send_multipart([b"", msgspec.json.encode(envelope)])
        while self._arrived(command, end):
            answer = read_answer(self._socket.recv_multipart()[-1])
            if answer.request_id != request_id:
                continue  # of a request that was given up
            if answer.code:
                raise error_of_answer(answer)
            return answer.data
        raise Unreachable(
            f"the orchestrator at {self.address} has not answered {command!r} within {limit:g} seconds; "
            "what was asked for may still be done"
        )

    def _arrived(self, command: str, end: float) -> bool:
        """Waits for an answer until `end`; says whether there is one. Raises `Unreachable` when nobody listens there
        any more: ZeroMQ itself would wait for somebody else."""
        while (left := end - time.monotonic()) > 0:
            if self._socket.poll(int(min(left, _LOOK) * 1000)):
                return True
            if self.gone(0.0) and not self._socket.poll(0):
                raise Unreachable(f"the orchestrator at {self.address} has ended; {command!r} may be done or not")
        return bool(self._socket.poll(0))

    def gone(self, timeout: float) -> bool:
        """Waits until nobody listens there any more; says whether that is so."""
        end = time.monotonic() + timeout
        while True:
            try:
                _knock(Address.parse(self.address), 1.0)
            except Unreachable:
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.05)

    def close(self) -> None:
        self._socket.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def found_address() -> str:
    """The address of the one orchestrator that listens in the run directory.

    Raises `Unreachable` when there is none, `InvalidInput` when there are several.
    """
    folder = run_directory()
    living = [path for path in sorted(folder.glob("*.sock")) if _listens(path)]
    if len(living) == 1:
        return f"ipc://{living[0]}"
    if living:
        names = ", ".join(str(path) for path in living)
        raise InvalidInput(f"several orchestrators listen here: choose one with --socket: {names}")
    raise Unreachable(
        f"no orchestrator listens in {folder}: start one with enable_command_interface=True in this folder, "
        "or name its address with --address"
    )


def _listens(path: Path) -> bool:
    try:
        _knock(Address.parse(str(path)), 1.0)
    except Unreachable:
        return False
    return True


def _knock(address: Address, timeout: float) -> None:
    """Connects and goes away: ZeroMQ itself would wait and try again, whoever is there. Raises `Unreachable`."""
    try:
        if address.path is None:
            socket.create_connection((address.host, address.port), timeout).close()
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout)
            probe.connect(short(address.path))
    except BlockingIOError:
        return  # so many want to connect that they have to wait
    except OSError as error:
        raise Unreachable(f"no orchestrator answers at {address.url}: {error.strerror or error}") from None
