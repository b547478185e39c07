"""What an agent's process does, from its fork to its exit code.

What lives in the user's main module has come by value, or is taken from that module, which is imported then
(`workers.main_script`). Its order comes first on its channel: the surroundings (search path, working directory,
environment), which must be in place before the agent can be unpickled, and the agent.

    STOP, SIGTERM      asks the agent to stop
    SIGTERM after that interrupts it: `SystemExit` is raised in its main thread, and `on_close` runs
    channel closed     the orchestrator is gone: the agent is asked to stop, and killed after `ORPHAN` seconds
    SIGINT             ignored: Ctrl-C reaches the orchestrator, which decides
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any

import cloudpickle

from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.agents.life import Outcome, live, run_now
from tenuto.supervisor.channels import SocketAgentEnd, decoded
from tenuto.supervisor.fork_server import ORPHAN
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.texts import error_text

__all__ = ["Order", "serve"]

_INTERRUPTED = 128 + signal.SIGTERM


@dataclass(frozen=True)
class Order:
    """What a new process is told. `content` is the pickled agent: its class, settings, plugins and arguments."""

    name: str
    generation: int
    path: Sequence[str]
    folder: str
    environment: Mapping[str, str] | None
    """None: as the fork server's"""
    arguments: Sequence[str]
    """`sys.argv`"""
    content: bytes

    def packed(self) -> bytes:
        """As it goes through the channel."""
        return pickle.dumps(self, pickle.HIGHEST_PROTOCOL)


def serve(descriptor: int) -> int:
    """Lives the life of the agent whose order comes on the socket `descriptor`; returns its exit code."""
    end = SocketAgentEnd(socket.socket(fileno=descriptor))
    frame = end.receive()
    if frame is None:
        return 0  # the orchestrator was gone before it could say what to do
    order: Order = cloudpickle.loads(frame)
    try:
        try:
            _enter(order)
            kind, config, plugin, arguments, log = cloudpickle.loads(order.content)
        finally:
            end.send(_message(order, MessageKind.STARTED, pid=os.getpid()))

        def made() -> BaseAgent:
            found: BaseAgent = kind.made(
                order.name,
                generation=order.generation,
                config=config,
                plugin=plugin,
                arguments=arguments,
                send=end.send,
                log=log,
            )
            return found

        if kind.asynchronous:
            from tenuto.workers.loops import run

            outcome = run(_lived(made, end))
        else:
            outcome = run_now(_lived(made, end))
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 0
    except Exception as error:  # noqa: BLE001 - told to the orchestrator
        shown = f"it cannot be built in its process: {error_text(error)}"
        end.send(_message(order, MessageKind.ERROR, error_message=shown, recoverable=False))
        outcome = Outcome(error=error, where="its process")
    end.close()
    return outcome.exit_code or (1 if outcome.error is not None else 0)


async def _lived(made: Callable[[], BaseAgent], end: SocketAgentEnd) -> Outcome:
    agent = made()
    agent.open_log(alone=True)
    asked, asking = os.pipe()
    _on_sigterm(agent, asking)
    threading.Thread(target=_listen, args=(agent, end, asked), name="tenuto: channel", daemon=True).start()
    return await live(agent)


def _enter(order: Order) -> None:
    """Makes the surroundings those of the orchestrator."""
    sys.path[:] = order.path
    sys.argv[:] = order.arguments
    with contextlib.suppress(OSError):  # it was removed: the agent need not use it
        os.chdir(order.folder)
    if order.environment is not None:
        os.environ.clear()
        os.environ.update(order.environment)


def _message(order: Order, kind: MessageKind, **fields: Any) -> Message:
    return Message(kind=kind, agent=order.name, generation=order.generation, fields=fields)


def _on_sigterm(agent: BaseAgent, asking: int) -> None:
    """The handler takes no lock: it may have interrupted whoever holds it. Another thread asks the agent to stop."""
    times = 0

    def handle(_: int, __: FrameType | None) -> None:
        nonlocal times
        times += 1
        insist = agent.stopping or times > 1
        if insist and times <= 2:
            times = 2
            raise SystemExit(_INTERRUPTED)
        os.write(asking, b"!")

    signal.signal(signal.SIGTERM, handle)


def _listen(agent: BaseAgent, end: SocketAgentEnd, asked: int) -> None:
    """Takes what the orchestrator sends, until it is gone; then the process is, soon after."""
    frame = end.take()  # it may have come together with the order
    while True:
        while frame is not None:  # and several at once
            try:
                agent.deliver(decoded(frame))
            except ValueError as error:
                agent.tell_error(error, "a message of the orchestrator", recoverable=True)
            frame = end.take()
        try:
            ready, _, _ = select.select([end.fileno(), asked], [], [])
        except (OSError, ValueError):
            return  # the agent has ended
        if asked in ready:
            os.read(asked, 1)
            agent.ask_stop()
        if end.fileno() in ready:
            frame = end.receive()
            if frame is None:
                break
    agent.ask_stop()
    time.sleep(ORPHAN)
    os.killpg(0, signal.SIGKILL)
