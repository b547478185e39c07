"""Two roles: an owner, who migrates, and a role of everyday work, which can do no more than read and write rows."""

from __future__ import annotations

import re
from importlib import resources

from psycopg import errors as said
from psycopg import sql

from tenuto.errors import InvalidInput
from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.errors import translated

__all__ = ["grant", "grants"]

_SCHEMA = re.compile(r"\btenuto\b(?=[. ])")


def grants(connection: Connection, schema: str, role: str) -> bytes:
    """The statements of `sql/roles.sql`, for this schema and this role."""
    text = (resources.files("tenuto.stores.postgres") / "sql" / "roles.sql").read_text(encoding="utf-8")
    quoted = sql.Identifier(role).as_string(connection)
    lines = [line for line in text.splitlines() if line and not line.startswith("--")]
    return "\n".join(_SCHEMA.sub(schema, line).replace("tenuto_worker", quoted) for line in lines).encode()


def grant(connection: Connection, address: Address, role: str) -> None:
    """Gives `role` what it needs to work with the store, tables of later migrations included.

    To be called as the owner of the schema. Raises `InvalidInput` when there is no such role.
    """
    with translated(address.url), connection.transaction():
        try:
            connection.execute(grants(connection, address.schema, role))
        except said.UndefinedObject:
            raise InvalidInput(f"role: the server of {address.url} has no role {role!r}: create it first") from None
