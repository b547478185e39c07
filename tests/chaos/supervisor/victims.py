"""Agents that live badly: each kind dies, hangs or shouts in its own way, and is started again by its policy."""

from __future__ import annotations

import ctypes
import os
import random
import resource
import signal
import time
from typing import Any

from tenuto import (
    HeartbeatPlugin,
    LoopingProcessAgent,
    LoopingThreadAgent,
    PeriodicAsyncAgent,
    RecoverableException,
    RestartPolicy,
)

__all__ = ["PROCESS_KINDS", "Shouting", "Spoilt", "Waiting"]

_ALWAYS = RestartPolicy(mode="always", max_restarts=None, backoff=0.05, max_backoff=0.2)
_HOG = 1 << 30


class _Process(LoopingProcessAgent):
    class Config(LoopingProcessAgent.Config):
        restart = _ALWAYS
        stop_timeout = 1.0
        heartbeat_timeout = 3.0
        life = 1.0
        """seconds, in the middle, until it does what it is here for"""

    class Plugin(LoopingProcessAgent.Plugin):
        heartbeat = HeartbeatPlugin(interval=0.5)

    def setup(self) -> None:
        self._end = time.monotonic() + random.uniform(0.5, 1.5) * self.config.life

    def cycle(self) -> None:
        self.wait(0.05)
        if time.monotonic() > self._end:
            self.die()

    def die(self) -> None:
        """What it is here for."""
        self._end = float("inf")


class Steady(_Process):
    """Dies only when it is killed."""


class Exits(_Process):
    """Leaves without a word."""

    def die(self) -> None:
        os._exit(random.choice((0, 3)))


class Crashes(_Process):
    """Reads where nothing is."""

    def die(self) -> None:
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        ctypes.string_at(0)


class Raises(_Process):
    """Has a bug; the round before it recovers."""

    def cycle(self) -> None:
        super().cycle()
        if random.random() < 0.05:
            raise RecoverableException("a bad round")

    def die(self) -> None:
        raise ValueError("spoilt " * 100)


class Hogs(_Process):
    """Takes memory until there is none for it."""

    def die(self) -> None:
        resource.setrlimit(resource.RLIMIT_AS, (_HOG, _HOG))
        taken: list[bytes] = []
        while True:
            taken.append(bytes(64 << 20))


class Stubborn(_Process):
    """Wants neither to stop nor to be terminated."""

    def setup(self) -> None:
        super().setup()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    def cycle(self) -> None:
        time.sleep(0.05)
        while self.stopping:
            time.sleep(1)


PROCESS_KINDS = (Steady, Exits, Crashes, Raises, Hogs, Stubborn)


class Spoilt(LoopingThreadAgent):
    """Raises in its thread, again and again."""

    class Config(LoopingThreadAgent.Config):
        restart = _ALWAYS

    def cycle(self) -> None:
        if self.wait(random.uniform(0.2, 1.0)):
            return
        raise RuntimeError("no thread lasts for ever")


class Shouting(LoopingThreadAgent):
    """Sends as many messages as make up a history of `count` events, in gusts."""

    class Config(LoopingThreadAgent.Config):
        count = 1_000_000

    config: Any

    def setup(self) -> None:
        self._sent = 0

    def cycle(self) -> None:
        if self._sent >= self.config.count:
            self.wait(0.2)
            return
        for _ in range(min(200, self.config.count - self._sent)):
            self.send_message({"number": self._sent, "text": "x" * 100})
            self._sent += 1
        self.wait(0.01)


class Waiting(PeriodicAsyncAgent):
    """Does nothing wrong."""

    class Config(PeriodicAsyncAgent.Config):
        execution_interval = 0.2

    async def runner(self) -> None:
        """Nothing."""
