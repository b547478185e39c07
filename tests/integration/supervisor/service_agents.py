"""Service agents that tests start: good ones, and all kinds of bad ones."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tenuto.supervisor.agents.asynchronous import BaseAsyncAgent
from tenuto.supervisor.agents.base import BaseAgent, BaseProcessAgent, BaseThreadAgent
from tenuto.supervisor.agents.looping import LoopingProcessAgent
from tenuto.supervisor.exceptions import NonRecoverableException, RecoverableException
from tenuto.supervisor.plugins import Plugin


class Noted(Plugin):
    """Says in its owner's messages what is done with it."""

    def initialize(self) -> None:
        self.owner.send_message("initialize")

    def finalize(self) -> None:
        self.owner.send_message("finalize")


class Said:
    """What all of these share: hooks that say that they were called."""

    class Plugin(BaseAgent.Plugin):
        noted = Noted()

    send_message: Any

    def setup(self) -> Any:
        self.send_message("setup")

    def execute(self) -> Any:
        self.send_message("execute")

    def on_close(self) -> Any:
        self.send_message("on_close")


class SaidInProcess(Said, BaseProcessAgent):
    pass


class SaidInThread(Said, BaseThreadAgent):
    pass


class SaidOnLoop(BaseAsyncAgent):
    class Plugin(BaseAsyncAgent.Plugin):
        noted = Noted()

    async def setup(self) -> None:
        self.send_message("setup")

    async def execute(self) -> None:
        self.send_message("execute")

    async def on_close(self) -> None:
        self.send_message("on_close")


class WaitsInProcess(BaseProcessAgent):
    """Runs until it is stopped."""

    def execute(self) -> None:
        self.wait()


class WaitsInThread(BaseThreadAgent):
    def execute(self) -> None:
        self.wait()


class WaitsOnLoop(BaseAsyncAgent):
    async def execute(self) -> None:
        await self.wait()


class SleepsInProcess(BaseProcessAgent):
    """Does not look whether it was asked to stop, but says when it closes."""

    def execute(self) -> None:
        time.sleep(1_000)

    def on_close(self) -> None:
        self.send_message("closed")


class SleepsOnLoop(BaseAsyncAgent):
    async def execute(self) -> None:
        import asyncio

        await asyncio.sleep(1_000)

    async def on_close(self) -> None:
        self.send_message("closed")


class Stuck(BaseThreadAgent):
    """Does not look whether it was asked to stop."""

    release: Any

    def execute(self) -> None:
        self.release.wait()


class Deaf(BaseProcessAgent):
    """Ignores SIGTERM and everything else."""

    def setup(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def execute(self) -> None:
        while True:
            time.sleep(0.1)


class Dies(BaseProcessAgent):
    """Ends in the way that it is told."""

    how: str

    def execute(self) -> None:
        match self.how:
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(7)
            case "leave":
                sys.exit(3)
            case "segfault":
                ctypes.string_at(0)
            case "raise":
                raise ValueError("no such table")
            case "final":
                raise NonRecoverableException("it will never work")


class DiesInThread(BaseThreadAgent):
    def execute(self) -> None:
        raise ValueError("no such table")


class DiesOnLoop(BaseAsyncAgent):
    async def execute(self) -> None:
        raise ValueError("no such table")


class FailsInSetup(BaseProcessAgent):
    def setup(self) -> None:
        raise ConnectionError("no route to host")


class SlowToStart(BaseProcessAgent):
    def setup(self) -> None:
        time.sleep(1_000)


class FailsToClose(BaseThreadAgent):
    class Plugin(BaseThreadAgent.Plugin):
        noted = Noted()

    def on_close(self) -> None:
        raise RuntimeError("the file is gone")


class Stumbles(LoopingProcessAgent):
    """Fails in every other round."""

    class Config(LoopingProcessAgent.Config):
        limit = 4

    def setup(self) -> None:
        self.rounds = 0

    def cycle(self) -> None:
        self.rounds += 1
        if self.rounds % 2:
            raise RecoverableException(f"round {self.rounds}")
        self.send_message(self.rounds)


class Echo(BaseProcessAgent):
    """Sends back what it gets."""

    def execute(self) -> None:
        while not self.stopping:
            got = self.receive_message()
            if got is not None:
                self.send_message(got)


class Restarted(BaseProcessAgent):
    """Fails until its file has as many lines as it says."""

    path: str
    lives: int

    def execute(self) -> None:
        with Path(self.path).open("a") as file:
            file.write(f"{time.monotonic()}\n")
        if len(Path(self.path).read_text().splitlines()) < self.lives:
            raise ValueError("not yet")


class Parent(BaseProcessAgent):
    """Starts a process of its own."""

    def execute(self) -> None:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
        self.send_message(child.pid)
        self.wait()
