"""Agents in processes: the orchestrator's side of the fork server, and the run of one such agent.

The server is started when the first agent needs it, and again when it was killed. Agents whose server was killed die
with it; their ends are told like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tenuto.observability.logging import logger
from tenuto.supervisor.bootstrap import Order
from tenuto.supervisor.channels import SocketOrchestratorEnd, framed
from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.fork_server import ENDED, FORK, FORKED, RECORD, REFUSED, SIGNAL, SIGNAL_GROUP, command
from tenuto.supervisor.inherited import not_inherited
from tenuto.supervisor.messages import Message
from tenuto.supervisor.runs import Exit

__all__ = ["ForkServer", "ProcessRun"]

log = logger("tenuto.supervisor")

_CLOSING = 5.0
"""Seconds after which a server that does not end is killed."""
_ANSWERS = 5.0
"""Seconds without an answer after which a server is frozen, once it has imported what it was told to."""
_AT_ONCE = 16
"""Requests that a server is sent before it has answered the first. More could overflow its socket."""
_DIED = "the fork server has died"
_GLANCE = 0.002
"""Seconds between two looks at a server that ends, which takes it a few milliseconds."""


class ForkServer:
    """Starts processes by asking a small one to fork. Belongs to one event loop."""

    def __init__(
        self, preload: Sequence[str] = (), started: Callable[[int], None] | None = None, start_timeout: float = 30.0
    ) -> None:
        """preload: modules that agents find imported. started: told each process that is made, the server's too.

        start_timeout: seconds that the server has for its imports.
        """
        self._preload = tuple(preload)
        self._started = started
        self._start_timeout = start_timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._environment: Mapping[str, str] = {}
        self._children: dict[int, _Child] = {}
        self._number = 0
        self._unread = b""
        self._waiting: deque[tuple[bytes, socket.socket | None]] = deque()
        """requests that are not sent yet, each with the channel that goes along"""
        self._unanswered = 0
        self._answered = False
        self._watch: asyncio.TimerHandle | None = None
        self._fate = _DIED

    def preload(self, modules: Sequence[str]) -> None:
        """Adds modules that agents find imported, unless the server was started already."""
        self._preload = (*self._preload, *(each for each in modules if each not in self._preload))

    @property
    def pid(self) -> int | None:
        """The server's process, while there is one."""
        return None if self._process is None else self._process.pid

    async def run(self, entry: AgentEntry, content: bytes) -> ProcessRun:
        """Starts the process of `entry`, whose agent is in `content`. Raises `OSError` when it cannot be started."""
        self._serving()
        ours, theirs = socket.socketpair()
        with theirs:
            end = SocketOrchestratorEnd(entry.name, entry.generation, not_inherited(ours))
            self._number += 1
            child = self._children[self._number] = _Child(self._number)
            try:
                environment = dict(os.environ)
                order = Order(
                    name=entry.name,
                    generation=entry.generation,
                    path=tuple(sys.path),
                    folder=_folder(),
                    environment=None if environment == self._environment else environment,
                    arguments=tuple(sys.argv),
                    content=content,
                )
                run = ProcessRun(self, child, end)
                run.write(framed(order.packed()))
                self._ask(RECORD.pack(FORK, child.number, 0), theirs)
                pid = await child.forked
            except BaseException:
                end.close()
                self._abandon(child)
                raise
        if self._started is not None:
            self._started(pid)
        return run

    def signal(self, number: int, what: int, *, group: bool) -> None:
        """Sends a signal to a child, if it has not ended; 0 only finds out whether the server still answers."""
        if number in self._children:
            self._ask(RECORD.pack(SIGNAL_GROUP if group else SIGNAL, number, what))

    def warm_up(self) -> None:
        """Starts the server, so that the first agent need not wait for it."""
        self._serving()

    async def close(self) -> None:
        """Ends the server, and whatever it still has."""
        process = self._process
        self._let_go()
        if process is None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLOSING
        while process.poll() is None:
            if loop.time() > end:
                process.kill()
            await asyncio.sleep(_GLANCE)

    def kill(self) -> None:
        """Ends the server and all its agents at once."""
        if self._process is not None:
            self._process.kill()

    # -- the server

    def _serving(self) -> None:
        if self._control is None:
            control, theirs = socket.socketpair()
            with theirs:
                self._environment = dict(os.environ)
                self._process = subprocess.Popen(
                    command(theirs.fileno(), self._preload),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
            control.setblocking(False)
            self._control = not_inherited(control)
            asyncio.get_running_loop().add_reader(control, self._replies)
            if self._started is not None:
                self._started(self._process.pid)

    def _ask(self, request: bytes, channel: socket.socket | None = None) -> None:
        """Sends a request when its turn has come: signals go before forks, which are slow."""
        if channel is None:
            self._waiting.appendleft((request, None))
        else:
            self._waiting.append((request, channel))
        self._send_on()

    def _send_on(self) -> None:
        while self._waiting and self._unanswered < _AT_ONCE and self._control is not None:
            request, channel = self._waiting.popleft()
            with contextlib.suppress(OSError):  # it is dead: found out when reading
                if channel is None:
                    self._control.send(request)
                elif channel.fileno() < 0:  # whoever wanted it has given up
                    continue
                else:
                    socket.send_fds(self._control, [request], [channel.fileno()])
            self._unanswered += 1
        if self._watch is None and self._unanswered:
            limit = _ANSWERS if self._answered else self._start_timeout
            self._watch = asyncio.get_running_loop().call_later(limit, self._frozen, limit)

    def _frozen(self, seconds: float) -> None:
        self._fate = f"the fork server did not answer within {seconds:g} s"
        log.error("the fork server does not answer and is killed, its agents with it", pid=self.pid)
        self.kill()

    def _stop_watching(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._watch = None

    def _replies(self) -> None:
        assert self._control is not None
        try:
            data = self._control.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        self._answered = True
        self._stop_watching()
        self._unread += data
        while len(self._unread) >= RECORD.size:
            kind, number, value = RECORD.unpack(self._unread[: RECORD.size])
            self._unread = self._unread[RECORD.size :]
            self._unanswered -= kind != ENDED
            if (child := self._children.get(number)) is not None:
                self._reply(child, kind, value)
        self._send_on()

    def _reply(self, child: _Child, kind: int, value: int) -> None:
        if kind == FORKED:
            child.pid = value
            if child.abandoned:
                self._abandon(child)
            _settle(child.forked, value)
        elif kind == REFUSED:
            del self._children[child.number]
            _settle(child.forked, OSError(value, f"no process can be started: {os.strerror(value)}"))
        elif kind == ENDED:
            del self._children[child.number]
            _settle(child.ended, Exit(code=value) if value >= 0 else Exit(signal=-value))

    def _abandon(self, child: _Child) -> None:
        """Nobody waits for `child` any more: it ends, as soon as it is there."""
        child.abandoned = True
        if child.pid is not None:
            self.signal(child.number, signal.SIGKILL, group=True)

    def _lost(self) -> None:
        """The server has died. So do its children; where the kernel does not see to that, it is done here."""
        children, fate = list(self._children.values()), self._fate
        log.error("the fork server has ended, and its agents with it", pid=self.pid, agents=len(children))
        process = self._process
        self._let_go()
        if process is not None:
            process.kill()
            process.wait()  # it has ended, or ends now
        for child in children:
            if child.pid is not None:
                with contextlib.suppress(OSError):
                    os.killpg(child.pid, signal.SIGKILL)
            _settle(child.forked, OSError(fate))
            _settle(child.ended, Exit(signal=int(signal.SIGKILL), reason=fate))

    def _let_go(self) -> None:
        if self._control is not None:
            asyncio.get_running_loop().remove_reader(self._control)
            self._control.close()
        self._stop_watching()
        self._control = None
        self._process = None
        self._children = {}
        self._waiting.clear()
        self._unanswered = 0
        self._answered = False
        self._unread = b""
        self._fate = _DIED


class _Child:
    def __init__(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        self.number = number
        self.pid: int | None = None
        self.abandoned = False
        self.forked: asyncio.Future[int] = loop.create_future()
        self.ended: asyncio.Future[Exit] = loop.create_future()


class ProcessRun:
    """One start of an agent in a process; see `Run`."""

    def __init__(self, server: ForkServer, child: _Child, end: SocketOrchestratorEnd) -> None:
        self._server = server
        self._child = child
        self.end = end
        self._writing = False

    @property
    def pid(self) -> int | None:
        """Its process."""
        return self._child.pid

    def send(self, message: Message) -> bool:
        """See `Run`."""
        taken = self.end.send(message)
        self._write_on()
        return taken

    def write(self, frame: bytes) -> None:
        """Sends a frame as it is."""
        self.end.write(frame)
        self._write_on()

    async def ended(self) -> Exit:
        """See `Run`."""
        return await asyncio.shield(self._child.ended)

    def overdue(self) -> None:
        """See `Run`: perhaps the server, which tells its end, is frozen."""
        self._server.signal(self._child.number, 0, group=False)

    def interrupt(self) -> None:
        """See `Run`."""
        self._server.signal(self._child.number, signal.SIGTERM, group=False)

    def kill(self) -> bool:
        """See `Run`."""
        self._server.signal(self._child.number, signal.SIGKILL, group=True)
        return True

    def close(self) -> None:
        """Frees its descriptor."""
        self._stop_writing()
        self.end.close()

    def _write_on(self) -> None:
        """What the socket has not taken goes when it can."""
        try:
            done = self.end.flush()
        except OSError:
            done = True
        descriptor = self.end.fileno()
        if done or descriptor is None or descriptor < 0:
            self._stop_writing()
        elif not self._writing:
            self._writing = True
            asyncio.get_running_loop().add_writer(descriptor, self._write_on)

    def _stop_writing(self) -> None:
        descriptor = self.end.fileno()
        if self._writing and descriptor is not None and descriptor >= 0:
            asyncio.get_running_loop().remove_writer(descriptor)
        self._writing = False


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - it may have been removed
    except OSError:
        return "/"


def _settle(future: asyncio.Future[Any], value: Any) -> None:
    if future.done():
        return
    if isinstance(value, Exception):
        future.set_exception(value)
    else:
        future.set_result(value)
