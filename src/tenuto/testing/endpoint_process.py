"""The endpoint as a process of its own, which outlives the processes that a test kills."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from tenuto.errors import InvalidInput, Unreachable, WaitTimeout
from tenuto.testing.addresses import Addresses
from tenuto.testing.calls import Call, matching
from tenuto.testing.script import Rule, Script, rules_of

__all__ = ["EndpointProcess"]

START_LIMIT = 60.0
"""Seconds that the process may take until it listens."""

POLL = 0.02
"""Seconds between two looks at the calls."""


class EndpointProcess(Addresses):
    """As `Endpoint`, in a process of its own. It ends with the context, and with the process that started it.

    Its script is turns or rules: a function cannot travel.
    """

    def __init__(self, script: Script = (), *, models: Sequence[str] = (), port: int = 0) -> None:
        """See `Endpoint`. Raises `InvalidInput` for what is no script, or a function."""
        self._rules = _portable(script)
        self._models, self._wanted = tuple(models), port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls of models so far, in the order in which they came. Raises `Unreachable`."""
        return msgspec.json.decode(self._asked("GET", "/_calls"), type=list[Call])

    def count(self, contains: str = "", **fields: Any) -> int:
        """How many calls have these fields, see `Call`, and `contains` in what was said. Raises `Unreachable`."""
        return len(matching(self.calls, contains, **fields))

    def wait_for(self, calls: int = 1, *, timeout: float = 30.0, contains: str = "", **fields: Any) -> list[Call]:
        """Blocks until so many calls have these fields, and gives them. In a coroutine, use `asyncio.to_thread`.

        Raises `WaitTimeout` after `timeout` seconds, and `Unreachable`.
        """
        end = time.monotonic() + timeout
        while len(found := matching(self.calls, contains, **fields)) < calls:
            if time.monotonic() > end:
                raise WaitTimeout(f"after {timeout:g} seconds the endpoint has {len(found)} such calls, not {calls}")
            time.sleep(POLL)
        return found

    def replace(self, script: Script) -> None:
        """From now on `script` answers. Raises `InvalidInput` for what is no script, or a function."""
        self._asked("POST", "/_script", _encoded(_portable(script)))

    def release(self, name: str) -> None:
        """Lets all replies go that are held under `name`, now and later. Raises `Unreachable`."""
        self._asked("POST", f"/_release?name={quote(name)}")

    def forget(self) -> None:
        """Keeps no response any more that was made so far: see `Endpoint.forget`. Raises `Unreachable`."""
        self._asked("POST", "/_forget")

    def start(self) -> EndpointProcess:
        """Starts the process, and returns when it listens. Raises `OSError` where the port is taken."""
        with tempfile.TemporaryDirectory(prefix="tenuto-endpoint-") as folder:
            script = Path(folder) / "script.json"
            script.write_bytes(_encoded(self._rules))
            models = [word for name in self._models for word in ("--model", name)]
            line = [sys.executable, "-m", "tenuto.testing.endpoint", "--script", str(script), "--with-stdin"]
            self._process = subprocess.Popen(
                [*line, "--port", str(self._wanted), *models], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            url = self._first_line(self._process)
        if not url:
            self.close()
            raise OSError("the endpoint did not start; what it wrote to standard error says why")
        self.port = urlsplit(url).port or 0
        return self

    def _first_line(self, process: subprocess.Popen[bytes]) -> str:
        """What the process says when it listens; nothing where it ended, or took too long."""
        assert process.stdout is not None
        too_long = threading.Timer(START_LIMIT, process.kill)
        too_long.start()
        try:
            return process.stdout.readline().decode().strip()
        finally:
            too_long.cancel()

    def close(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def __enter__(self) -> EndpointProcess:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> EndpointProcess:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    def _asked(self, method: str, path: str, body: bytes | None = None) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body)
            return connection.getresponse().read()
        except OSError as error:
            raise Unreachable(f"the endpoint at {self.url} does not answer: {error}") from error
        finally:
            connection.close()


def _portable(script: Script) -> list[Rule]:
    if callable(script):
        raise InvalidInput("a function cannot travel to the endpoint's process: give it turns or rules")
    return rules_of(script)


def _encoded(rules: list[Rule]) -> bytes:
    return msgspec.json.encode({"rules": rules})
