"""Agents in threads of this process, and agents on the event loop that they share.

Neither can be killed. A thread that does not end when asked is left behind, a daemon, and named; a coroutine can at
least be cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from functools import partial

from tenuto.supervisor.agents.base import BaseAgent
from tenuto.supervisor.agents.life import Outcome, live, run_now
from tenuto.supervisor.channels import LocalChannel
from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.runs import Exit

__all__ = ["LocalRun", "run_in_thread", "run_on_loop"]


class LocalRun:
    """One start of an agent within this process; see `Run`."""

    pid: int | None = None

    def __init__(self, entry: AgentEntry) -> None:
        self.end = LocalChannel(entry.name, entry.generation, self._deliver)
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[Exit] = self._loop.create_future()
        self._agent: BaseAgent | None = None
        self._early: list[Message] = []
        self._meeting = threading.Lock()
        self.interrupter: Callable[[], object] | None = None

    async def life(self, entry: AgentEntry) -> None:
        """The agent's whole life, where it runs. Raises nothing."""
        channel = self.end
        if entry.agent_class.asynchronous:
            task = asyncio.current_task()
            assert task is not None
            self.interrupter = partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel)
        channel.put(
            Message(
                kind=MessageKind.STARTED, agent=entry.name, generation=entry.generation, fields={"pid": os.getpid()}
            )
        )
        try:
            agent = entry.agent_class.made(
                entry.name,
                generation=entry.generation,
                config=entry.config,
                plugin=entry.plugin,
                arguments=entry.arguments,
                send=channel.put,
                log=entry.log,
            )
            self._meet(agent)
            outcome = await live(agent)
        except BaseException as error:  # noqa: BLE001 - its end is told, whatever it was
            outcome = Outcome(error=error, where="it cannot be built")
            fields = {"error_message": outcome.reason, "error_type": type(error).__name__, "recoverable": False}
            channel.put(Message(kind=MessageKind.ERROR, agent=entry.name, generation=entry.generation, fields=fields))
        channel.finish()
        self._tell(outcome)

    def send(self, message: Message) -> bool:
        """See `Run`."""
        return self.end.send(message)

    async def ended(self) -> Exit:
        """See `Run`."""
        return await asyncio.shield(self._over)

    def overdue(self) -> None:
        """See `Run`: its end is told next."""

    def interrupt(self) -> None:
        """See `Run`: an agent on the event loop is cancelled."""
        if self.interrupter is not None:
            with contextlib.suppress(RuntimeError):  # its loop is closed: it has ended
                self.interrupter()

    def kill(self) -> bool:
        """See `Run`."""
        return False

    def close(self) -> None:
        """Ends its channel."""
        self.end.close()

    def _deliver(self, message: Message) -> None:
        with self._meeting:
            if self._agent is None:
                self._early.append(message)
                return
        self._agent.deliver(message)

    def _meet(self, agent: BaseAgent) -> None:
        with self._meeting:
            self._agent = agent
            for message in self._early:
                agent.deliver(message)

    def _tell(self, outcome: Outcome) -> None:
        exit_ = Exit(
            code=outcome.exit_code or None,
            error=outcome.error,
            failed=bool(outcome.reason),
            reason=outcome.reason,
            final=outcome.final,
        )
        with contextlib.suppress(RuntimeError):  # the supervisor's loop is closed: nobody waits
            self._loop.call_soon_threadsafe(_settle, self._over, exit_)


def run_in_thread(entry: AgentEntry) -> LocalRun:
    """Starts `entry` in a thread of its own."""
    run = LocalRun(entry)
    if entry.agent_class.asynchronous:
        from tenuto.workers.loops import run as run_loop

        def target() -> None:
            run_loop(run.life(entry))
    else:

        def target() -> None:
            run_now(run.life(entry))

    threading.Thread(target=target, name=entry.name, daemon=True).start()
    return run


def run_on_loop(entry: AgentEntry, loop: asyncio.AbstractEventLoop) -> LocalRun:
    """Starts `entry` on `loop`, which runs in another thread."""
    run = LocalRun(entry)
    loop.call_soon_threadsafe(lambda: loop.create_task(run.life(entry), name=entry.name))
    return run


def _settle(future: asyncio.Future[Exit], value: Exit) -> None:
    if not future.done():
        future.set_result(value)
