"""Two roles: an owner, who migrates, and a role of everyday work, which can do no more than read and write rows."""

from __future__ import annotations

import re
from contextlib import closing
from importlib import resources

from psycopg import errors as said
from psycopg import sql

from tenuto.errors import InvalidInput, NotFound
from tenuto.stores.postgres.connection import Address, Connection, connect
from tenuto.stores.postgres.errors import translated
from tenuto.stores.postgres.schema import version

__all__ = ["grant", "grants"]

_SCHEMA = re.compile(r"\btenuto\b(?=[. ])")


def grants(connection: Connection, schema: str, role: str) -> bytes:
    """The statements of `sql/roles.sql`, for this schema and this role."""
    text = (resources.files("tenuto.stores.postgres") / "sql" / "roles.sql").read_text(encoding="utf-8")
    quoted = sql.Identifier(role).as_string(connection)
    lines = [line for line in text.splitlines() if line and not line.startswith("--")]
    return "\n".join(_SCHEMA.sub(schema, line).replace("tenuto_worker", quoted) for line in lines).encode()


def grant(url: str, role: str) -> None:
    """Gives `role` what it needs to work with the store at `url`, tables of later migrations included.

    `url` names the owner of the schema, who has migrated it. Raises `InvalidInput` when there is no such role, and
    `NotFound` when there is no store yet.
    """
    address = Address.of(url)
    with closing(connect(address, "grant")) as connection, translated(address.url):
        if not version(connection, address):
            raise NotFound(f"there is no store {address.url} yet: run 'tenuto store migrate' first")
        try:
            with connection.transaction():
                connection.execute(grants(connection, address.schema, role))
        except said.UndefinedObject:
            raise InvalidInput(f"role: the server of {address.url} has no role {role!r}: create it first") from None
