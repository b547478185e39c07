"""What every service agent is: its hooks, its settings, its plugins, and its line to the orchestrator.

    class Greeter(BaseProcessAgent):
        class Config(BaseProcessAgent.Config):
            greeting = "hello"

        config: Config

        def setup(self): ...                # once, before it counts as ready
        def execute(self): ...              # its work; it ends when this returns
        def on_stop(self): ...              # as soon as somebody asks it to stop, beside whatever it does
        def on_close(self): ...             # always, last

Where the hooks are called depends on the class: `BaseProcessAgent`, `BaseThreadAgent`, or `BaseAsyncAgent`
(`asynchronous`), whose hooks are coroutines. In which order is written once for all of them, in `life`.

`on_stop` is called while `execute` still runs, from a thread of its own (in an async agent: as a task of its own), so
that it can wake what blocks there: close a socket, set an event.
"""

from __future__ import annotations

import inspect
import os
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Self

from tenuto.errors import InvalidInput
from tenuto.observability.logging import logger
from tenuto.supervisor.config import AgentConfig
from tenuto.supervisor.entry import Executor
from tenuto.supervisor.messages import Message, MessageKind
from tenuto.supervisor.plugins import PluginSet
from tenuto.supervisor.texts import error_text, traceback_text

if TYPE_CHECKING:
    from tenuto.observability.agent_logs import AgentLog, AgentLogConfig

__all__ = ["ON_STOP", "WAKE", "BaseAgent", "BaseProcessAgent", "BaseThreadAgent"]

ON_STOP = 5.0
"""Most seconds for which `on_close` waits for an `on_stop` that has not returned."""


class BaseAgent:
    """An agent that does not say where it runs: the orchestrator's `executor` decides. Its hooks are functions."""

    executor: ClassVar[Executor | None] = None
    asynchronous: ClassVar[bool] = False
    """whether its hooks are coroutines"""

    class Config(AgentConfig):
        """Its settings."""

    class Plugin(PluginSet):
        """Its plugins."""

    config: Any
    plugin: Any
    """its own plugins, by name"""
    name: str
    generation: int
    stop_event: Any
    """set when it was asked to stop: a `threading.Event`, in an async agent an `asyncio.Event`"""

    def __init__(self, **arguments: Any) -> None:
        """Keeps what `register_agent` was given besides, as attributes."""
        for name, value in arguments.items():
            if name in BaseAgent.__annotations__ or hasattr(BaseAgent, name):
                raise InvalidInput(f"agent {self.name!r}: {name!r} is taken, give that argument another name")
            setattr(self, name, value)

    @classmethod
    def made(
        cls,
        name: str,
        *,
        generation: int = 1,
        config: Any = None,
        plugin: PluginSet | None = None,
        arguments: Mapping[str, Any] | None = None,
        send: Callable[[Message], None] | None = None,
        log: AgentLogConfig | None = None,
    ) -> Self:
        """An agent of this class whose messages go to `send`. All but `arguments` is there before its `__init__`.

        log: how it writes a log of its own; None: what it logs goes to the program's log.
        """
        agent = cls.__new__(cls)
        agent.wire(name, generation, send, log)
        agent.config = cls.Config() if config is None else config
        agent.plugin = (cls.Plugin() if plugin is None else plugin).of(agent)
        agent.__init__(**(arguments or {}))  # type: ignore[misc]  # this is its only call
        return agent

    def wire(
        self, name: str, generation: int, send: Callable[[Message], None] | None, log: AgentLogConfig | None
    ) -> None:
        """Gives it its name, its line to the orchestrator and its log."""
        self.name = name
        self.generation = generation
        self._send = send
        self._log_config = log
        self._log: AgentLog | None = None
        self._asking = threading.Lock()
        self._stop_asked = False
        self._begin()

    # -- hooks

    def setup(self) -> Any:
        """Called once; when it returns, the agent counts as ready, and what depends on it may start."""

    def execute(self) -> Any:
        """The agent's work. When it returns, the agent ends."""

    def on_stop(self) -> Any:
        """Called once when somebody asks it to stop, while `execute` still runs."""

    def on_close(self) -> Any:
        """Called last, however the agent ends, unless its process is killed."""

    # -- what its program may use

    @property
    def logger(self) -> Any:
        """Its log: a file of its own, opened when it is first used; `tenuto logs` shows it."""
        if self._log is None and self._log_config is not None:
            self.open_log()
        return logger("tenuto.agent").bind(agent=self.name) if self._log is None else self._log.logger

    @property
    def pid(self) -> int:
        """The process it runs in."""
        return os.getpid()

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop_asked

    def wait(self, seconds: float | None = None) -> Any:
        """Waits for `seconds`, or until it is asked to stop; says whether it was. In an async agent: a coroutine."""
        return self.stop_event.wait(seconds)

    def send_message(self, content: Any, **fields: Any) -> None:
        """Sends `content` to the orchestrator, where it becomes an event AGENT_MESSAGE; `fields` go along with it.

        A field `severity` says how grave the event is: `warning`, for example.
        """
        self.tell(MessageKind.MESSAGE, content=content, **fields)

    def receive_message(self, timeout: float | None = None) -> Any:
        """The next message of the orchestrator; None when there was none for `timeout` seconds, or it is to stop.

        In an async agent: a coroutine.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while not self._stop_asked or not self._inbox.empty():
            left = None if end is None else max(end - time.monotonic(), 0)
            try:
                arrived = self._inbox.get(timeout=left)
            except queue.Empty:
                return None
            if arrived is not WAKE:
                return arrived
        return None

    # -- what its surroundings use

    def tell(self, kind: MessageKind, /, *, content: Any = None, **fields: Any) -> None:
        """Sends a message of any kind."""
        if self._send is not None:
            self._send(Message(kind=kind, agent=self.name, generation=self.generation, fields=fields, content=content))

    def tell_error(self, error: BaseException, where: str, *, recoverable: bool) -> None:
        """Reports what was raised, and writes it to the agent's log."""
        shown = error_text(error)
        note = self.logger.warning if recoverable else self.logger.error
        note(f"{where}: {shown}", exc_info=None if recoverable else error)
        self.tell(
            MessageKind.ERROR,
            error_message=shown,
            error_type=type(error).__name__,
            where=where,
            recoverable=recoverable,
            traceback=traceback_text(error),
        )

    def open_log(self, *, alone: bool = False) -> None:
        """Opens its log file. alone: whether it has its process for itself, and everything logged there is its own."""
        if self._log_config is None:
            return
        from tenuto.observability.agent_logs import AgentLog

        try:
            self._log = AgentLog(self.name, self._log_config, generation=self.generation)
        except InvalidInput as error:
            self._log_config = None
            self.logger.warning("an agent has no log file", why=str(error))
            return
        if alone:
            self._log.take_over()

    def close_log(self) -> None:
        """Closes its log file, if it has one."""
        self._log_config = None
        if self._log is not None:
            self._log.close()
            self._log = None

    def deliver(self, message: Message) -> None:
        """Takes a message of the orchestrator, from any thread. Does not wait."""
        if message.kind is MessageKind.STOP:
            self.ask_stop()
        elif message.kind is MessageKind.MESSAGE:
            self._arrived(message.content)

    def ask_stop(self) -> None:
        """Asks it to end; `on_stop` is called once. From any thread; does not wait."""
        with self._asking:
            if self._stop_asked:
                return
            self._stop_asked = True
        self._stop()

    async def run_hook(self, hook: Callable[[], Any]) -> Any:
        """Calls a hook as this kind of agent does: here at once."""
        found = hook()
        if inspect.iscoroutine(found):
            found.close()
            kind = type(self).__name__
            raise TypeError(
                f"{kind}.{getattr(hook, '__name__', hook)} is a coroutine: derive {kind} from an async agent"
            )
        return found

    async def pause(self, seconds: float) -> bool:
        """`wait`, in code that all kinds of agents share."""
        return bool(self.stop_event.wait(seconds))

    async def after_on_stop(self) -> None:
        """Waits for an `on_stop` that runs; not for ever."""
        if self._stopper is not None:
            self._stopper.join(ON_STOP)

    # -- how it waits and is woken; an async agent does so in its own way

    _send: Callable[[Message], None] | None
    _stop_asked: bool
    _asking: threading.Lock
    _inbox: Any
    _stopper: Any

    def _begin(self) -> None:
        self.stop_event = threading.Event()
        self._inbox = queue.SimpleQueue()
        self._stopper = None

    def _arrived(self, content: Any) -> None:
        self._inbox.put(content)

    def _stop(self) -> None:
        if type(self).on_stop is not BaseAgent.on_stop:
            self._stopper = threading.Thread(target=self._on_stop, name=f"{self.name}: on_stop", daemon=True)
            self._stopper.start()
        self.stop_event.set()
        self._inbox.put(WAKE)

    def _on_stop(self) -> None:
        try:
            self.on_stop()
        except Exception as error:  # noqa: BLE001 - it is reported, and the agent goes on ending
            self.tell_error(error, "on_stop", recoverable=True)


WAKE = object()
"""What wakes an agent that waits for a message in vain."""


class BaseProcessAgent(BaseAgent):
    """An agent in a process of its own."""

    executor: ClassVar[Executor | None] = "process"


class BaseThreadAgent(BaseAgent):
    """An agent in a thread of the orchestrator's process."""

    executor: ClassVar[Executor | None] = "thread"
