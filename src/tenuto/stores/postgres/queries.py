"""The SQL of this engine, by name.

Files name the schema `tenuto`, which is the default; the schema of a store is put in its place. So no statement
relies on `search_path`, which a pooler may hand from one client to another.
"""

from __future__ import annotations

import re
from functools import cache

from tenuto.stores.rows.queries import queries

__all__ = ["in_schema", "query"]

_SCHEMA = re.compile(r"\btenuto\.(?=\w)")


def in_schema(text: str, schema: str) -> bytes:
    """SQL for the tables of `schema`, as psycopg takes it when it is no literal."""
    return _SCHEMA.sub(f"{schema}.", text).encode()


@cache
def query(name: str, schema: str) -> bytes:
    """The query called `name`, for the tables of `schema`."""
    return in_schema(queries("tenuto.stores.postgres")[name], schema)
