"""A local endpoint that speaks as OpenAI and Anthropic do, and says what a script tells it to.

    from tenuto.testing import Endpoint, Reply, ToolCall

    turns = [Reply(tools=[ToolCall("weather", {"city": "Oslo"})]), "It rains in Oslo."]
    with Endpoint(turns) as endpoint:                                   # or `async with`
        client = openai.AsyncOpenAI(base_url=endpoint.openai_url, api_key="sk-test")
        ...
        assert endpoint.count(turn=2) == 1

It listens on 127.0.0.1, in a thread of its own, and serves OpenAI's Chat Completions and Responses and Anthropic's
Messages, whole and streamed, the lists of models and the count of tokens. What it says, and what goes wrong, is
written in `Reply`; which answer belongs to which request, in `tenuto.testing.script`.

A request is checked as the provider would: each tool's result has its call, each call its result, and roles follow
one another as they must. A broken history gets the provider's 400, and `call.error` its words.

- `url`, `openai_url`, `anthropic_url`: where it listens, and the base URLs for the SDKs
- `environment`: the same as environment variables, with keys that open nothing
- `calls`, `count(**fields)`, `wait_for(n, **fields)`: what was asked, see `Call`
- `replace(script)`, `release(name)`: another script; let those replies go that are held under a name
- `close()`, `start()`: an outage; it comes back on the same port

As a process, for tests that kill what calls it, see `EndpointProcess`:

    python -m tenuto.testing.endpoint --script file.json --port 0

prints its URL as its first line. There `GET /_calls`, `POST /_script` and `POST /_release?name=NAME` do what the
methods do here.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenuto.errors import TenutoError
from tenuto.testing.addresses import Addresses
from tenuto.testing.calls import Call, matching
from tenuto.testing.http_server import HttpServer
from tenuto.testing.routes import Routes
from tenuto.testing.script import Script, read_script

__all__ = ["Endpoint"]

START_LIMIT = 30.0
"""Seconds that a start or an end may take."""


class Endpoint(Addresses):
    """A scripted endpoint in a thread of this process. Usable from any thread and any event loop."""

    def __init__(self, script: Script = (), *, models: Sequence[str] = (), port: int = 0) -> None:
        """`models`: the only ones known; with none, every name is. `port`: 0 for a free one.

        Raises `InvalidInput` for what is no script.
        """
        self._routes = Routes(script, models)
        self._wanted = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._listening = threading.Event()
        self._failed: OSError | None = None

    @property
    def calls(self) -> list[Call]:
        """The calls of models so far, in the order in which they came: a copy."""
        return self._routes.log.all()

    def count(self, contains: str = "", **fields: Any) -> int:
        """How many calls have these fields, see `Call`, and `contains` in what was said."""
        return len(matching(self.calls, contains, **fields))

    def wait_for(self, calls: int = 1, *, timeout: float = 30.0, **fields: Any) -> list[Call]:
        """Blocks until so many calls have these fields, and gives them. In a coroutine, use `asyncio.to_thread`.

        Raises `WaitTimeout` after `timeout` seconds.
        """
        return self._routes.log.wait_for(calls, timeout, **fields)

    def replace(self, script: Script) -> None:
        """From now on `script` answers. Raises `InvalidInput` for what is no script."""
        self._routes.replace(script)

    def release(self, name: str) -> None:
        """Lets all replies go that are held under `name`, now and later."""
        self._routes.gates.open(name)

    def forget(self) -> None:
        """Keeps no response any more that was made so far, as OpenAI does some minutes after one has ended."""
        self._routes.kept.forget()

    def start(self) -> Endpoint:
        """Listens; after an end, on the same port again. Raises `OSError` where the port is taken."""
        self._listening.clear()
        self._failed, self._routes.closing = None, False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="endpoint", daemon=True)
        self._thread.start()
        if not self._listening.wait(START_LIMIT):
            raise OSError(f"the endpoint did not listen within {START_LIMIT:g} seconds")
        if self._failed is not None:
            raise self._failed
        self._wanted = self.port
        return self

    def close(self) -> None:
        """Ends at once, with all that is under way."""
        if self._loop is not None and self._over is not None and self._thread is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._over.set)
            self._thread.join(START_LIMIT)
            self._loop = self._over = self._thread = None

    def __enter__(self) -> Endpoint:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    async def __aenter__(self) -> Endpoint:
        return await asyncio.to_thread(self.start)

    async def __aexit__(self, *exc: object) -> None:
        await asyncio.to_thread(self.close)

    async def _serve(self) -> None:
        server = HttpServer(self._routes.answer)
        try:
            self.port = await server.start(self._wanted)
        except OSError as error:
            self._failed = error
            return
        finally:
            self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
            self._listening.set()
        try:
            await self._over.wait()
        finally:
            self._routes.closing = True
            await server.close()


def main(arguments: list[str] | None = None) -> int:
    """Serves a script from a file until told to stop, until standard input ends, or until its time is over."""
    parser = argparse.ArgumentParser(prog="python -m tenuto.testing.endpoint", description=main.__doc__)
    parser.add_argument("--script", type=Path, help="a JSON file: turns, or rules; without it, POST /_script")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--model", action="append", default=[], help="the only models that are known; repeatable")
    parser.add_argument("--seconds", type=float, default=3600.0, help="how long it serves at most")
    parser.add_argument("--with-stdin", action="store_true", help="end when standard input does")
    given = parser.parse_args(arguments)
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        script = read_script(given.script.read_bytes()) if given.script else []
        with Endpoint(script, models=given.model, port=given.port) as endpoint:
            sys.stdout.write(endpoint.url + "\n")
            sys.stdout.flush()
            if given.with_stdin:
                threading.Thread(target=_until_stdin_ends, args=(over,), daemon=True).start()
            over.wait(given.seconds)
    except (TenutoError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _until_stdin_ends(over: threading.Event) -> None:
    sys.stdin.read()
    over.set()


if __name__ == "__main__":
    sys.exit(main())
