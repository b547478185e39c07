"""A TCP proxy that stands for a bad network: it delays, throttles, goes silent, loses answers and cuts connections.

It runs in a thread of its own. TCP loses no bytes, so what a silent network holds back arrives when it heals, late, or
never, when the connection is cut instead: both happen to real programs, and both can be had here.

    with Proxy("127.0.0.1", server.port) as proxy:
        proxy.silence()                # connections stay open, new ones are accepted, and nobody answers
        proxy.heal()                   # what was held back arrives now
        proxy.silence(requests=False)  # requests still arrive, their answers do not
        proxy.cut()                    # and now nobody will ever know what became of them
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar

from tenuto.testing.listening import stop_listening

__all__ = ["Proxy"]

T = TypeVar("T")

_CHUNK = 65_536
_WINDOW = 256
"""Chunks on their way at once, in each direction of a connection."""
_STEPS = 5
"""Turns of the event loop until a connection is made, or closed."""
_PATIENCE = 60.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing tells the peer with a reset, at once."""


class Proxy:
    """Passes what comes to `port` on to a server, as well as it is told to. `start` it, or use it with `with`."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._links: set[_Link] = set()
        self._serving: set[asyncio.Task[None]] = set()
        self._requests_pass = asyncio.Event()
        self._answers_pass = asyncio.Event()
        self._delay = 0.0
        self._bytes_per_second: float | None = None
        self._refusing = False
        self._left: int | None = None
        """answers until the cut"""
        self.port = 0
        """where it listens, once it has started"""
        self.passed = 0
        """bytes that have come through, both ways"""

    # -- faults; all of them may be called from any thread

    def slow(self, delay: float, bytes_per_second: float | None = None) -> None:
        """Everything takes `delay` seconds longer, each way, and no more than so many bytes come through."""
        self._delay, self._bytes_per_second = delay, bytes_per_second

    def silence(self, *, requests: bool = True, answers: bool = True) -> None:
        """Nothing comes through any more, one way or both, nor does anybody learn of a closed connection."""
        self._do(lambda: self._hold(requests, answers))

    def refuse(self) -> None:
        """Resets all connections, and each new one."""
        self._refusing = True
        self.cut()

    def cut(self) -> int:
        """Resets all connections; says how many. New ones are as good as the network is."""
        return self._do(self._cut)

    def cut_after(self, answers: int) -> None:
        """Lets so many more answers through (as they come from the network, in parts), loses the next one, and resets
        all connections. Once."""
        self._left = answers

    def heal(self, *, cut: bool = False) -> None:
        """A good network again. What was held back arrives, unless connections are `cut` before."""
        self._delay, self._bytes_per_second, self._refusing = 0.0, None, False
        if cut:
            self.cut()
        self._do(self._pass)

    def redirect(self, host: str, port: int) -> None:
        """Leads to another server from now on; resets all connections to the one before."""
        self._upstream = (host, port)
        self.cut()

    # -- its life

    def start(self) -> Self:
        self._thread.start()
        listening = asyncio.run_coroutine_threadsafe(self._listen(), self._loop)
        self.port = listening.result(_PATIENCE)
        return self

    def close(self) -> None:
        """Ends it with all of its connections."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(_PATIENCE)
            self._do(self._cut)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_PATIENCE)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- in the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(self._finish())
        finally:
            self._loop.close()

    async def _close(self) -> None:
        """Listens no more."""
        await stop_listening(self._server)

    async def _finish(self) -> None:
        """Whoever came last is let in before all are sent away: what is half made cannot be closed."""
        for _ in range(_STEPS):
            await asyncio.sleep(0)
        self._cut()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cut()
        for _ in range(_STEPS):
            await asyncio.sleep(0)

    async def _listen(self) -> int:
        self._pass()
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def _do(self, what: Callable[[], T]) -> T:
        """Runs `what` in the thread, and waits for it."""

        async def ran() -> T:
            return what()

        return asyncio.run_coroutine_threadsafe(ran(), self._loop).result(_PATIENCE)

    def _hold(self, requests: bool, answers: bool) -> None:
        if requests:
            self._requests_pass.clear()
        if answers:
            self._answers_pass.clear()

    def _pass(self) -> None:
        self._requests_pass.set()
        self._answers_pass.set()

    def _cut(self) -> int:
        links, self._links = self._links, set()
        for link in links:
            link.reset()
        return len(links)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = _Link(writer)
        self._links.add(link)
        serving = self._loop.create_task(self._serve(link, reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refusing:
                return
            await self._requests_pass.wait()
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._upstream)
            link.add(upstream_writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, upstream_writer, self._requests_pass))
                both.create_task(self._pump(upstream_reader, writer, self._answers_pass))
        except* OSError:
            pass  # a peer that is gone; the other one learns of it below
        finally:
            link.reset()
            self._links.discard(link)

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, passes: asyncio.Event) -> None:
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WINDOW)
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send(on_its_way, sink, passes))
            data = b"-"
            while data:
                data = await source.read(_CHUNK)
                await on_its_way.put((self._loop.time(), data))

    async def _send(
        self, on_its_way: asyncio.Queue[tuple[float, bytes]], sink: asyncio.StreamWriter, passes: asyncio.Event
    ) -> None:
        """Each in its order, when its time has come; empty: the end."""
        while True:
            sent, data = await on_its_way.get()
            await asyncio.sleep(max(0.0, sent + self._delay - self._loop.time()))
            if self._bytes_per_second is not None:
                await asyncio.sleep(len(data) / self._bytes_per_second)
            await passes.wait()
            if not data:
                sink.write_eof()
                return
            if passes is self._answers_pass and self._left is not None:
                self._left -= 1
                if self._left < 0:
                    self._left = None
                    self._cut()
                    return
            sink.write(data)
            await sink.drain()
            self.passed += len(data)


class _Link:
    """Both connections of one client."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self._writers: list[asyncio.StreamWriter] = []
        self._dead = False
        self.add(client)

    def add(self, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        if self._dead:
            self.reset()

    def reset(self) -> None:
        self._dead = True
        for writer in self._writers:
            found = writer.get_extra_info("socket")
            if found is not None and not writer.transport.is_closing():
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
