"""The supervisor: the six managers (`managers`) at work, from `start` to the end.

All verbs block, may be called from any thread, and end: every wait has its limit.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import FrameType
from typing import Any

from tenuto.errors import AgentFailed, InvalidInput
from tenuto.observability.logging import logger
from tenuto.supervisor.command_interface import CommandInterface
from tenuto.supervisor.commands import Command
from tenuto.supervisor.console import Console
from tenuto.supervisor.entry import AgentEntry
from tenuto.supervisor.events import OrchestratorEvent
from tenuto.supervisor.managers import Managed
from tenuto.supervisor.orphans import kill_orphans
from tenuto.supervisor.plugins import PluginSet
from tenuto.supervisor.settings import OrchestratorConfig, RunMode
from tenuto.supervisor.states import LIVE, AgentState
from tenuto.workers.main_script import importing_main

__all__ = ["Supervisor"]

log = logger("tenuto.supervisor")

_GLANCE = 1.0
"""Most seconds until a signal is seen that came just when the main thread began to wait, and so did not wake it."""
_CALLBACKS = 10.0
"""Most seconds that a shutdown waits for callbacks."""
_E = OrchestratorEvent


class Supervisor(Managed):
    """Service agents under supervision. Starts nothing until `start`."""

    def __init__(
        self,
        config: OrchestratorConfig | None = None,
        *,
        name: str | None = None,
        plugin: PluginSet | None = None,
        **config_fields: Any,
    ) -> None:
        """config: settings; single ones may be given as keywords besides, and win.

        name: what its command socket is called. plugin: in place of those of the class.
        Raises `InvalidInput` that names the argument which makes no sense.
        """
        super().__init__(config, name, plugin, config_fields)
        self.lifecycle_manager.on_settled = self._settled
        self.command_interface = self.create_command_interface() if self.config.enable_command_interface else None
        self._started_at: float | None = None
        self._guard = threading.RLock()
        self._stopping = False
        self._wakes: SimpleQueue[None] = SimpleQueue()
        """unlike an event's, its `put` may be called by a signal handler at any moment"""
        self._plugins: list[Any] = []
        self._failed: AgentEntry | None = None
        """an essential agent that has failed for good"""

    def create_command_interface(self) -> CommandInterface:
        """Makes the `command_interface`, if it is enabled."""
        return CommandInterface(
            Console(self),
            self.event_bus,
            self.config.command_zmq_address,
            name=self.name,
            allowed_commands=self.config.allowed_commands,
            token=self.config.command_token,
            commands=self.create_commands(),
        )

    def create_commands(self) -> Sequence[Command]:
        """Makes the commands that it has beside those for agents."""
        return ()

    # -- its life

    @property
    def run_mode(self) -> RunMode:
        """When it ends by itself."""
        return self.config.run_mode or RunMode.STOP_ON_EMPTY

    @property
    def started(self) -> bool:
        """Whether `start` was called, and it has not ended since."""
        return self._started_at is not None

    def start(self) -> None:
        """Starts every agent that is registered, in order and within the limits, and returns at once.

        Does nothing when it runs already. Raises `InvalidInput` for dependencies that make no sense and agents that
        cannot be sent to a process, `Conflict` when the command interface's address is taken; nothing runs then.
        """
        if importing_main():
            raise InvalidInput("the program starts an orchestrator while it is imported")
        with self._guard:
            if self._started_at is not None:
                return
            self.dependency_graph.validate()
            self._failed = None
            self._started_at = time.time()
            try:
                self._begin()
            except BaseException:
                self.shutdown(0.0)
                raise

    def join(self, timeout: float | None = None) -> bool:
        """Waits until the run mode says that it is over, and shuts down; whether it is over.

        In `STOP_ON_EMPTY` that is when no agent runs or waits, and all callbacks have run; in `DAEMON` when somebody
        has called `stop` or `shutdown`. timeout: most seconds to wait; None: no limit.

        Raises what has ended an agent without which the others are of no use.
        """
        if self._started_at is None:
            return True
        try:
            if not self._wait(timeout):
                return False
        except KeyboardInterrupt:
            self._interrupted()
            raise
        self.shutdown()
        self._raise_failure()
        return True

    def simple_join(self) -> None:
        """Starts, if that was not done, lets every agent have its turn, and waits for the end."""
        self.start()
        self.join()

    def stop(self) -> None:
        """Stops every agent, and all that `start` began, and returns when they have ended. From any thread.

        Does nothing when it does not run; `start` may be called again.
        """
        self.shutdown()

    def shutdown(self, timeout: float | None = None) -> Sequence[str]:
        """The same; returns the names of agents that did not stop, and were left behind.

        timeout: seconds that all agents have together; None: `agent_stop_timeout`, or what their settings say.
        In a callback it returns at once when another thread is at it, because that one waits for the callback.
        """
        self.ask_stop()
        if not self._guard.acquire(blocking=not self.event_bus.in_callback()):
            return self.lifecycle_manager.survivors
        try:
            if self._started_at is None:
                self._stopping = False
                return self.lifecycle_manager.survivors
            with self.lifecycle_manager.closing():
                survivors = self.lifecycle_manager.stop_all(timeout)
                self.event_bus.emit(_E.SHUTDOWN, survivors=list(survivors))
                self._end()
            self._started_at = None
            self._stopping = False
            return survivors
        finally:
            self._guard.release()

    def run(self) -> None:
        """Starts, waits for the end, SIGINT, SIGTERM or SIGHUP, and ends cleanly.

        A second signal ends the program at once, and its agents with it.
        Raises `InvalidInput` when nothing is registered, and what has ended an agent without which it is of no use.
        """
        if not self.lifecycle_manager.entries:
            raise InvalidInput("there is nothing to run: call register_agent or register_runner first")
        try:
            with self._signals():
                self.start()
                try:
                    self._wait(None)
                finally:
                    self.shutdown()
        except KeyboardInterrupt:  # the second one
            self.lifecycle_manager.kill_all()
            raise
        self._raise_failure()

    def status(self) -> dict[str, Any]:
        """The orchestrator itself, in JSON types."""
        entries = self.lifecycle_manager.entries
        return {
            "name": self.name,
            "pid": os.getpid(),
            "state": "STOPPED" if self._started_at is None else "STOPPING" if self._stopping else "RUNNING",
            "run_mode": self.run_mode.value,
            "max_workers": self.worker_pool.max_workers,
            "started_at": self._started_at,
            "seconds": None if self._started_at is None else round(time.time() - self._started_at, 3),
            "agents": Counter(entry.state.value for entry in entries),
        }

    def _begin(self) -> None:
        kill_orphans()
        if self.command_interface is not None:
            self.command_interface.start()
        for _, plugin in self.plugin:
            plugin.initialize()
            self._plugins.append(plugin)
        self.event_bus.emit(_E.INIT, run_mode=self.run_mode.value, max_workers=self.worker_pool.max_workers)
        begun = LIVE | {AgentState.QUEUED}
        waiting = [entry for entry in self.lifecycle_manager.entries if entry.state not in begun]
        order = {name: position for position, name in enumerate(self.dependency_graph.order())}
        waiting.sort(key=lambda entry: order[entry.name])
        self.lifecycle_manager.start_all([entry.name for entry in waiting])

    def _end(self) -> None:
        if self.command_interface is not None:
            self.command_interface.stop()
        late = self.event_bus.rest(_CALLBACKS)
        if late:
            log.error("callbacks do not return and are left behind", callbacks=late)
        self.message_router.stop()
        if not self.lifecycle_manager.close():
            log.error("an async agent blocks its event loop, whose thread is left behind")
        for plugin in reversed(self._plugins):
            try:
                plugin.finalize()
            except Exception:
                log.exception("a plugin of the orchestrator could not be finalized", plugin=type(plugin).__name__)
        self._plugins = []
        self._notes.close()

    # -- waiting for the end

    def _wait(self, timeout: float | None) -> bool:
        end = None if timeout is None else time.monotonic() + timeout
        while not self._over():
            left = float("inf") if end is None else end - time.monotonic()
            if left <= 0:
                return False
            with contextlib.suppress(Empty):
                self._wakes.get(timeout=min(left, _GLANCE))
        return True

    def _over(self) -> bool:
        if self._stopping or self._failed is not None:
            return True
        idle = self.lifecycle_manager.wait_idle
        if self.run_mode is not RunMode.STOP_ON_EMPTY or not idle(0):
            return False
        self.event_bus.drain(_CALLBACKS)  # a callback may have started another
        return idle(0)

    def _raise_failure(self) -> None:
        if (failure := self._failure()) is not None:
            raise failure

    def _failure(self) -> BaseException | None:
        """What has ended it: the error of an agent that it cannot be without."""
        if self._failed is None:
            return None
        error = self._failed.error
        if error is None:
            return AgentFailed(f"agent {self._failed.name!r} has failed: {self._failed.reason}")
        return error.__cause__ or error

    def _settled(self, entry: AgentEntry) -> None:
        """An agent has ended for good. Called on the supervisor's event loop."""
        if entry.essential and entry.state is AgentState.FAILED and not entry.stop_asked:
            self._failed = self._failed or entry
        if self._wakes.empty():  # else whoever waits wakes up, and looks at everything
            self._wakes.put(None)

    def signalled(self, times: int) -> bool:
        """What SIGINT, SIGTERM and SIGHUP do in `run`: the first asks to stop; False, after the second, ends it.

        Called by the signal handler: it must not wait, and take no lock.
        """
        if times > 1:
            return False
        self.ask_stop()
        return True

    def ask_stop(self) -> None:
        """Makes `join` and `run` stop everything, and returns at once."""
        self._stopping = True
        self._wakes.put(None)

    def _interrupted(self) -> None:
        """Ctrl-C in `join`: a clean end; once more, and it is at once."""
        try:
            self.shutdown()
        except KeyboardInterrupt:
            self.lifecycle_manager.kill_all()
            raise

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handles SIGINT, SIGTERM and SIGHUP. Only where signals can be had."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        times = 0

        def asked(number: int, _: FrameType | None) -> None:
            nonlocal times
            times += 1
            if not self.signalled(times):
                for each, handler in before.items():
                    signal.signal(each, handler)
                signal.raise_signal(number)

        before = {number: signal.signal(number, asked) for number in _ends()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _ends() -> list[signal.Signals]:
    """The signals that end a program: that its terminal is closed only where nobody has it ignored (`nohup`)."""
    closed = [signal.SIGHUP] if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN else []
    return [signal.SIGINT, signal.SIGTERM, *closed]
