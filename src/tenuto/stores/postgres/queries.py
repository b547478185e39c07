"""The SQL of this engine, by name.

Queries live in the files of `sql/`: each begins with `-- name: <name>`, followed by a sentence that says what it is
for. Files name the schema `tenuto`, which is the default; the schema of a store is put in its place. So no statement
relies on `search_path`, which a pooler may hand from one client to another.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["in_schema", "query"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_SCHEMA = re.compile(r"\btenuto\.(?=\w)")


@cache
def _queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in (resources.files("tenuto.stores.postgres") / "sql").iterdir():
        if file.name.endswith(".sql"):
            parts = _NAME.split(file.read_text(encoding="utf-8"))
            found.update(zip(parts[1::2], map(_plain, parts[2::2]), strict=True))
    return found


def _plain(text: str) -> str:
    lines = (line.partition("--")[0].strip() for line in text.splitlines())
    return " ".join(line for line in lines if line).rstrip(";")


def in_schema(text: str, schema: str) -> bytes:
    """SQL for the tables of `schema`, as psycopg takes it when it is no literal."""
    return _SCHEMA.sub(f"{schema}.", text).encode()


@cache
def query(name: str, schema: str) -> bytes:
    """The query called `name`, for the tables of `schema`."""
    return in_schema(_queries()[name], schema)
