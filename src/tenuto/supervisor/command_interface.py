"""The command interface: people and programs outside ask, every request gets its answer.

One thread owns the ZeroMQ socket. It reads requests, checks them, and hands them to two crews of threads: one for
commands that only read, one for commands that act. So `ps` is answered at once while fifty agents are being stopped.
What does not speak ZeroMQ never gets here; what is too large is cut off by it; what is no request gets code 400. Every
attempt, refused ones included, is an event COMMAND_EXECUTED and so in the history.

Requests and answers: `requests`. Who may do what: `access`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from tenuto.errors import Forbidden, InvalidInput, NotFound, TenutoError
from tenuto.observability.logging import logger
from tenuto.supervisor.access import TOKEN_VARIABLE, allowed_of, masked, same_token, token_for
from tenuto.supervisor.addresses import Address
from tenuto.supervisor.commands import Command, agent_commands
from tenuto.supervisor.crew import Crew
from tenuto.supervisor.doorbell import Doorbell
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.events import OrchestratorEvent, Severity
from tenuto.supervisor.requests import Answer, Request, answer_of_error, id_in, read_request
from tenuto.supervisor.run_directory import made_run_directory, socket_path
from tenuto.supervisor.supervised import Supervised

if TYPE_CHECKING:
    import zmq

    from tenuto.supervisor.command_socket import CommandSocket

__all__ = ["CommandInterface"]

log = logger("tenuto.supervisor")

_READING, _ACTING = 4, 16
_WAITING = 1_000
_AT_ONCE = 100
"""Requests that are taken in before answers are sent again."""
_ENDING = 3.0


_OVER = "the orchestrator ends: what was asked for may be done or not"


@dataclass(eq=False)
class _Asked:
    """A request, and the way back."""

    route: list[bytes]
    request: Request
    command: Command | None
    began: float
    answered: bool = False


class CommandInterface:
    """Listens from `start` to `stop`. Both may be called from any thread."""

    def __init__(
        self,
        supervised: Supervised,
        event_bus: OrchestratorEventBus,
        address: str | None = None,
        *,
        name: str | None = None,
        allowed_commands: str | Collection[str] | None = None,
        token: str | None = None,
        commands: Sequence[Command] = (),
    ) -> None:
        """address: `ipc://PATH` or `tcp://HOST:PORT`; by default a socket in the run directory, called after `name`.

        allowed_commands: None for all, `basic`, `monitoring`, `all`, or names of commands.
        token: what requests must carry, needed on TCP addresses that other machines reach.
        commands: more of them; one of an existing name takes its place.
        Raises `InvalidInput` that names what makes no sense.
        """
        self._bus = event_bus
        self._commands = {each.name: each for each in (*agent_commands(supervised, event_bus), *commands)}
        self._commands["commands"] = Command("commands", "List the commands.", self._list)
        self._allowed = allowed_of(allowed_commands, self._commands)
        self._in_run_directory = address is None
        self._address = Address.parse(address if address is not None else f"ipc://{socket_path(name)}")
        self._token = token_for(self._address, token)
        self._pending: set[_Asked] = set()
        """what the crews have, or had when the interface ended"""
        self._answers: deque[tuple[_Asked, bytes, bool]] = deque()
        """each with whether the command was obeyed"""
        self._answering = threading.Lock()
        self._socket: CommandSocket | None = None
        self._thread: threading.Thread | None = None
        self._guard = threading.Lock()

    @property
    def address(self) -> str:
        """Where it listens; with port 0 the port that was found, once it is started."""
        return self._socket.url if self._socket is not None else self._address.url

    @property
    def listening(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Listens from now on; returns when clients can connect. Does nothing when it listens already.

        Raises `Conflict` when another orchestrator has the address, `InvalidInput` when nobody can have it.
        """
        with self._guard:
            if self._thread is not None:
                return
            if self._in_run_directory:
                made_run_directory()
            from tenuto.supervisor.command_socket import CommandSocket

            self._socket = CommandSocket(self._address)
            self._crews = Crew("reader", _READING, _WAITING), Crew("actor", _ACTING, _WAITING)
            self._stopping = False
            self._pending.clear()
            self._answers.clear()
            self._bell = Doorbell()
            self._thread = threading.Thread(target=self._serve, name="tenuto commands", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Answers what is already answered, and frees the address. Does nothing when it does not listen."""
        with self._guard:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            self._stopping = True
            for crew in self._crews:
                crew.close()
            self._bell.ring()
            thread.join(_ENDING)
            if thread.is_alive():
                log.error("the command interface does not end", address=self.address)
                return
            self._socket = None
            self._bell.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    # -- the thread that owns the socket

    def _serve(self) -> None:
        import zmq

        assert self._socket is not None
        router = self._socket.router
        poller = zmq.Poller()
        poller.register(router, zmq.POLLIN)
        poller.register(self._bell, zmq.POLLIN)
        try:
            while not self._stopping:
                try:
                    ready = dict(poller.poll())
                    self._bell.answer()
                    self._send_answers(router)
                    if router in ready:
                        self._take_requests(router)
                except zmq.ZMQError as error:
                    log.warning("the command socket reports an error", why=str(error))
            self._take_requests(router)
            for asked in list(self._pending):
                self._finish(asked, error=TenutoError(_OVER))
            self._send_answers(router)
        finally:
            self._socket.close()

    def _take_requests(self, router: zmq.Socket[bytes]) -> None:
        import zmq

        for _ in range(_AT_ONCE):
            try:
                frames = router.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            # A REQ socket puts an empty frame between its identity and the request, and wants it back.
            route = frames[:2] if len(frames) == 3 and not frames[1] else frames[:1]
            self._take(route, frames[len(route) :])

    def _take(self, route: list[bytes], body: list[bytes]) -> None:
        began = time.monotonic()
        asked = _Asked(route, Request(""), None, began)
        try:
            if len(body) != 1:
                raise InvalidInput(f"a request is one message of one part, not of {len(body)}")
            asked = _Asked(route, Request("", request_id=id_in(body[0])), None, began)
            request = read_request(body[0])
            asked = _Asked(route, request, self._commands.get(request.command), began)
            command, arguments = self._accepted(asked)
            self._pending.add(asked)
            if not self._crews[command.acts].give(partial(self._run, asked, command, arguments)):
                raise TenutoError("too many commands are waiting: try again")
        except Exception as error:  # noqa: BLE001 - the client is told
            self._finish(asked, error=error)

    def _accepted(self, asked: _Asked) -> tuple[Command, dict[str, Any]]:
        """What is to be run. Raises why it is not."""
        request, command = asked.request, asked.command
        if self._token is not None and not same_token(request.token, self._token):
            hint = f"send it as token beside the command; tenuto takes it from {TOKEN_VARIABLE}"
            raise Forbidden(f"the token is missing or wrong: {hint}")
        if command is None:
            raise NotFound(f"there is no command {request.command!r:.60}: {', '.join(self._commands)}")
        if self._allowed is not None and command.name not in self._allowed:
            raise Forbidden(f"the command {command.name!r} is not allowed here: allowed_commands leaves it out")
        if self._stopping:
            raise TenutoError(_OVER)
        return command, command.arguments(request.args)

    def _send_answers(self, router: zmq.Socket[bytes]) -> None:
        import zmq

        while self._answers:
            asked, content, done = self._answers.popleft()
            with contextlib.suppress(zmq.ZMQError):  # the client does not read, or is gone
                router.send_multipart([*asked.route, content], zmq.NOBLOCK)
            if done and asked.command is not None and asked.command.after is not None:
                name = f"tenuto {asked.command.name}"
                threading.Thread(target=asked.command.after, name=name, daemon=True).start()

    # -- the crews' threads

    def _run(self, asked: _Asked, command: Command, arguments: dict[str, Any]) -> None:
        try:
            data = command.run(**arguments)
            self._finish(asked, masked(data) if command.masks else data)
        except Exception as error:
            if not isinstance(error, TenutoError):
                log.warning("a command has failed", command=command.name, exc_info=True)
            self._finish(asked, error=error)

    def _finish(self, asked: _Asked, data: Any = None, error: Exception | None = None) -> None:
        """Answers, once. Raises when `data` has no JSON form."""
        if error is None:
            answer = Answer("success", 0, data, None, asked.request.request_id)
        else:
            answer = answer_of_error(error, asked.request.request_id)
        content = answer.encoded()  # here: the thread that owns the socket has others to answer
        with self._answering:
            if asked.answered:
                return  # the interface has ended, and said so
            asked.answered = True
        self._pending.discard(asked)
        self._audit(asked, answer)
        self._answers.append((asked, content, error is None))
        self._bell.ring()

    def _audit(self, asked: _Asked, answer: Answer) -> None:
        request = asked.request
        acts = asked.command is not None and asked.command.acts  # who only asks about an agent does nothing to it
        self._bus.emit(
            OrchestratorEvent.COMMAND_EXECUTED,
            severity=Severity.INFO if answer.code == 0 else Severity.WARNING,
            **({"agent_name": request.agent} if acts and request.agent is not None else {}),
            command=request.command,
            args=masked(request.args),
            sender=request.sender,
            code=answer.code,
            error_message=answer.error,
            milliseconds=round((time.monotonic() - asked.began) * 1000, 3),
        )

    def _list(self) -> list[dict[str, Any]]:
        return [
            {
                "name": each.name,
                "help": each.help,
                "args": [parameter.name for parameter in each.parameters],
                "acts": each.acts,
                "allowed": self._allowed is None or each.name in self._allowed,
            }
            for each in self._commands.values()
        ]
