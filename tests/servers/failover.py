"""A PostgreSQL that is there again after a failover: one address, and behind it whichever server is the primary.

Clients come over a proxy, which leads to the new primary when there is one, as a virtual address would. Their
connections to the old one are reset.

    with contextlib.closing(FailoverPostgres()) as service:
        url = service.url(service.create_database())
        service.add_standby(synchronous=True)
        service.fail_over()
"""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.servers.postgres import PostgresServer
from tests.servers.proxy import Proxy

__all__ = ["FailoverPostgres"]

_PATIENCE = 60.0


class FailoverPostgres:
    """A primary, as people run it: flushed to the disk at every commit. It begins without a standby."""

    def __init__(self) -> None:
        self.primary = PostgresServer(fsync=True).start()
        self._standby: PostgresServer | None = None
        self._between: Proxy | None = None
        self._front = Proxy("127.0.0.1", self.primary.port).start()
        self.port = self._front.port
        """of the service"""

    def url(self, database: str) -> str:
        """The URL of a database of the service."""
        return self.primary.url(database, tcp=True).replace(f":{self.primary.port}/", f":{self.port}/")

    def create_database(self, name: str | None = None) -> str:
        """Makes an empty database; its name."""
        return self.primary.create_database(name)

    def add_standby(self, *, synchronous: bool, distance: float = 0.0) -> None:
        """Has a standby follow the primary, so many seconds away; returns when it has caught up.

        `synchronous`: from then on no commit is answered that it does not have on its disk.
        """
        self._between = Proxy("127.0.0.1", self.primary.port).start()
        address = f"host=127.0.0.1 port={self._between.port} user=postgres password={self.primary.password}"
        self._standby = self.primary.standby(fsync=True, settings={"primary_conninfo": address}).start()
        with self.primary.connect() as admin:

            def stands(state: str) -> bool:
                found = admin.execute(
                    "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND sync_state = %s "
                    "AND replay_lsn >= sent_lsn",
                    (state,),
                )
                return found.fetchone() == (1,)

            _await(lambda: stands("async"), "the standby does not find its primary")
            if synchronous:
                admin.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
                admin.execute("SELECT pg_reload_conf()")
                _await(lambda: stands("sync"), "the standby does not become a synchronous one")
        self._between.slow(distance)

    def fail_over(self) -> None:
        """The primary dies at once, and its standby takes its place."""
        assert self._standby is not None, "there is no standby"
        self.primary.kill()
        self._close_between()
        self._standby.promote()
        self._front.redirect("127.0.0.1", self._standby.port)
        self.primary.close()
        self.primary, self._standby = self._standby, None

    # -- the life of the primary

    def kill(self) -> None:
        """Ends all processes of the primary at once with SIGKILL, as a crash would."""
        self.primary.kill()

    def start(self) -> None:
        """Starts the primary again."""
        self.primary.start()

    def freeze(self) -> None:
        """Stops all processes of the primary."""
        self.primary.freeze()

    def thaw(self) -> None:
        """Lets them go on."""
        self.primary.thaw()

    def close(self) -> None:
        """Removes all servers."""
        self._front.close()
        self._close_between()
        for server in (self._standby, self.primary):
            if server is not None:
                server.close()

    def _close_between(self) -> None:
        between, self._between = self._between, None
        if between is not None:
            between.close()


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + _PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.01)
