"""The SQL of this engine, by name.

Queries live in the files of `sql/`: each begins with `-- name: <name>`, followed by a sentence that says what it is
for. A query that writes many rows at once ends its VALUES with a single group and `, ...`: it is expanded to as many
groups as there are rows. One statement for many rows is what makes this engine fast: each step of a statement lets
other threads run Python, and getting the interpreter back from a busy one can take milliseconds.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["query", "rows_query"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ROWS = re.compile(r"\(([^()]*)\), \.\.\.")


@cache
def _queries() -> dict[str, str]:
    found: dict[str, str] = {}
    for file in (resources.files("tenuto.stores.sqlite") / "sql").iterdir():
        if file.name.endswith(".sql"):
            parts = _NAME.split(file.read_text(encoding="utf-8"))
            found.update(zip(parts[1::2], map(_plain, parts[2::2]), strict=True))
    return found


def _plain(text: str) -> str:
    lines = (line.partition("--")[0].strip() for line in text.splitlines())
    return " ".join(line for line in lines if line).rstrip(";")


@cache
def query(name: str) -> str:
    """The query called `name`."""
    return _queries()[name]


@cache
def rows_query(name: str, rows: int) -> str:
    """The query called `name`, for this many rows."""
    return _ROWS.sub(lambda group: ", ".join([f"({group[1]})"] * rows), query(name))
