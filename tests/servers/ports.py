"""Ports that nobody listens on."""

from __future__ import annotations

import os
import random
import re
import socket
from pathlib import Path

__all__ = ["free_port"]

_LOWEST = 15_000
_PROCESSES = 32
"""Processes of one run of the tests that have ports of their own."""

_given: set[int] = set()


def free_port() -> int:
    """A free TCP port of this machine; not one that this process was given before.

    It may be used long after it was given, and again after a server was killed. So it is none of those that the system
    hands out to whoever asks for any port, nor one that another process of the same run is given.
    """
    while True:
        port = _some_port()
        if port not in _given and _is_free(port):
            _given.add(port)
            return port


def _some_port() -> int:
    number = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _PROCESSES
    return random.randrange(_LOWEST, _first_handed_out() - _PROCESSES, _PROCESSES) + number


def _first_handed_out() -> int:
    """The lowest port that the system gives by itself."""
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text(encoding="ascii").split()[0])
    except OSError:
        first = 49_152
    return first if first > 2 * _LOWEST else 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
