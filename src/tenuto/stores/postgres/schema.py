"""Schema migrations: numbered SQL files, applied in order in one transaction under the store's lock.

Everything lives in a schema of its own, where `tenuto_migration` says what was applied. An older schema is brought up
to date, a newer one is refused, and so is one with tables of another program. Programs that start at once are
harmless: the second finds the work done. Where something fails, nothing of it stays: DDL is transactional.

The role that migrates owns the tables. The role of everyday work needs only what `roles.grant` gives it, and changes
no schema: it finds everything there.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

from psycopg import sql

from tenuto._version import __version__
from tenuto.errors import StoreCorrupt, StoreError, StoreTooNew
from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.errors import translated
from tenuto.stores.postgres.queries import in_schema, query

__all__ = ["latest", "migrate", "migrations", "version"]

_LOCK_TIMEOUT = "30s"


@cache
def migrations() -> tuple[tuple[int, str], ...]:
    """Numbers and texts, in order."""
    folder = resources.files("tenuto.stores.postgres") / "migrations"
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".sql"))
    return tuple((int(name.partition("_")[0]), (folder / name).read_text(encoding="utf-8")) for name in files)


def latest() -> int:
    """The schema that this release reads and writes."""
    return migrations()[-1][0]


def version(connection: Connection, address: Address) -> int:
    """The number of the store's schema, 0 where there is none. Raises `StoreCorrupt` for another program's tables."""
    with translated(address.url):
        tables = {row[0] for row in connection.execute(query("tables_of_schema", address.schema), (address.schema,))}
        if "tenuto_migration" in tables:
            return _number(connection, address, "migrations_applied")
    if tables:
        raise StoreCorrupt(
            f"The store {address.url} would be in the schema {address.schema}, which has tables of another program. "
            "It was left as it is: name another with schema=... in the URL."
        )
    return 0


def migrate(connection: Connection, address: Address) -> int:
    """Brings the schema up to date; how many migrations were applied.

    Raises `StoreTooNew` for a schema of a newer release, `StoreCorrupt` for one that is not ours, and `StoreError`
    where the role lacks a right.
    """
    if version(connection, address) != latest():
        patience, connection.patience = connection.patience, None  # it takes as long as it takes
        try:
            with translated(address.url), connection.transaction():
                connection.execute(query("wait_at_most", address.schema), (_LOCK_TIMEOUT,))
                connection.execute(query("take_store_lock", address.schema), (address.lock,))
                applied = _apply(connection, address)
        finally:
            connection.patience = patience
    else:
        applied = 0
    _check_rights(connection, address)
    return applied


def _apply(connection: Connection, address: Address) -> int:
    present = version(connection, address)  # another program may have done it meanwhile
    if present > latest():
        raise StoreTooNew(
            f"The store {address.url} has schema {present}, and this Tenuto knows schemas up to {latest()}: "
            "install the newer Tenuto that wrote it. It was left as it is."
        )
    if not _number(connection, address, "schema_exists", address.schema):
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(address.schema)))
    if not present:
        connection.execute(query("make_migrations", address.schema))
    due = [(number, text) for number, text in migrations() if number > present]
    for number, text in due:
        connection.execute(in_schema(text, address.schema))
        connection.execute(query("note_migration", address.schema), (number, __version__))
    return len(due)


def _check_rights(connection: Connection, address: Address) -> None:
    with translated(address.url):
        rows = connection.execute(query("tables_closed_to_us", address.schema), (address.schema,)).fetchall()
    if rows:
        raise StoreError(
            f"The role that uses the store {address.url} may not read and write {', '.join(row[0] for row in rows)}: "
            "let the owner run 'tenuto store grant ROLE' for it."
        )


def _number(connection: Connection, address: Address, name: str, *parameters: object) -> int:
    row = connection.execute(query(name, address.schema), parameters).fetchone()
    return int(row[0]) if row is not None else 0
