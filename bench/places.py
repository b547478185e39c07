"""Where the stores of one measurement lie: files, or a private server that is started for it.

Every measurement gets a server of its own, so that nothing that an earlier one left (dead rows, caches, a log to be
rewritten) weighs on it. All systems of an engine meet the same settings:

 * SQLite: each system's own, named in its durability.
 * Redis: the append-only file with `everysec`, which is what a queue on Redis is commonly trusted to.
 * PostgreSQL: `fsync` and `synchronous_commit` on; 256 MB of shared buffers.

Servers are reached over TCP on the loopback, by everyone.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from tests.servers.postgres import PostgresServer
    from tests.servers.redis import RedisServer

__all__ = ["PLACES", "MachinePlace", "Place", "PostgresPlace", "RedisPlace", "SqlitePlace", "path_of"]


class Place(ABC):
    """Gives out empty stores, and says how large they have become."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.urls: dict[str, str] = {}

    def new(self, name: str) -> str:
        """The URL of an empty store; the same name again is the same store."""
        if name not in self.urls:
            self.urls[name] = self._make(name)
        return self.urls[name]

    @classmethod
    @abstractmethod
    def engine(cls) -> str:
        """What the stores are made with, for the report."""

    @abstractmethod
    def _make(self, name: str) -> str:
        """An empty store."""

    @abstractmethod
    def disk(self, url: str) -> float:
        """Bytes that the store takes on the disk."""

    def rest(self, url: str) -> None:  # noqa: B027  # files need nothing
        """Lets the server end what filling a store has left it to do beside its work."""

    def server_memory(self) -> float | None:
        """Bytes that the server takes in memory; None where there is no server."""
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027  # files need nothing
        """Ends what was started."""


def path_of(url: str) -> Path:
    """The file of a SQLite URL."""
    return Path(url.removeprefix("sqlite:///"))


class SqlitePlace(Place):
    """Files in the directory."""

    @classmethod
    def engine(cls) -> str:
        import apsw

        return f"SQLite {apsw.sqlite_lib_version()}"

    def _make(self, name: str) -> str:
        return f"sqlite:///{self.directory / name}.db"

    def disk(self, url: str) -> float:
        path = path_of(url)
        return sum(file.stat().st_size for file in path.parent.glob(f"{path.name}*") if file.is_file())


class RedisPlace(Place):
    """A Redis server; each store is a numbered database of it."""

    server: RedisServer

    @classmethod
    def engine(cls) -> str:
        from tests.servers.redis import installations

        return os.environ.get("TENUTO_TEST_REDIS") or next(iter(installations()), "no Redis")

    def __enter__(self) -> Self:
        from tests.servers.redis import RedisServer

        tempfile.tempdir = str(self.directory)
        self.server = RedisServer(appendonly="everysec", databases=64).start()
        return self

    def close(self) -> None:
        self.server.close()

    def _make(self, name: str) -> str:
        return self.server.url(len(self.urls))

    def disk(self, url: str) -> float:
        return sum(file.stat().st_size for file in self.server.folder.rglob("*.aof*") if file.is_file())

    def rest(self, url: str) -> None:
        """Waits for the end of a rewrite of the log."""
        with self.server.client() as client:
            until = time.monotonic() + 60
            while client.info("persistence")["aof_rewrite_in_progress"] and time.monotonic() < until:
                time.sleep(0.05)

    def server_memory(self) -> float | None:
        with self.server.client() as client:
            used: Any = client.info("memory")["used_memory"]
        return float(used)


class PostgresPlace(Place):
    """A PostgreSQL server; each store is a database of it."""

    server: PostgresServer

    @classmethod
    def engine(cls) -> str:
        from tests.servers.postgres import installations

        version = os.environ.get("TENUTO_TEST_POSTGRES") or next(iter(installations()), None)
        return f"PostgreSQL {version}" if version else "no PostgreSQL"

    def __enter__(self) -> Self:
        from tests.servers.postgres import PostgresServer

        self.directory.chmod(0o755)  # the server may run as another user
        tempfile.tempdir = str(self.directory)
        self.server = PostgresServer(fsync=True, settings={"shared_buffers": "256MB"}).start()
        return self

    def close(self) -> None:
        self.server.close()

    def _make(self, name: str) -> str:
        return self.server.url(self.server.create_database(re.sub(r"\W", "_", name)), tcp=True)

    def disk(self, url: str) -> float:
        import psycopg

        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return float(row[0])

    def rest(self, url: str) -> None:
        """A checkpoint, and the statistics that autovacuum would gather a minute later."""
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CHECKPOINT")
            connection.execute("ANALYZE")

    def server_memory(self) -> float | None:
        """What its processes have for themselves. What they share is as large as it was set to be, however much
        is stored: the disk tells of that."""
        import psutil

        total = 0
        for process in psutil.process_iter(["name", "cmdline"]):
            with contextlib.suppress(psutil.Error):
                if self._is_of_server(process):
                    memory = process.memory_info()
                    total += memory.rss - getattr(memory, "shared", 0)
        return float(total)

    def _is_of_server(self, process: Any) -> bool:
        data = str(self.server.folder / "data")
        own = data in (process.info["cmdline"] or ())
        parent = process.parent()
        return own or (parent is not None and data in parent.cmdline())


class MachinePlace(Place):
    """This machine, where nothing is stored."""

    @classmethod
    def engine(cls) -> str:
        return "agents on this machine"

    def _make(self, name: str) -> str:
        return "memory://"

    def disk(self, url: str) -> float:
        return 0.0


PLACES: dict[str, type[Place]] = {
    "sqlite": SqlitePlace,
    "redis": RedisPlace,
    "postgres": PostgresPlace,
    "agents": SqlitePlace,
    "agents-postgres": PostgresPlace,
    "supervisor": MachinePlace,
}
"""By the name that `--store` takes."""
