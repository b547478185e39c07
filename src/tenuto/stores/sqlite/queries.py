"""The SQL of this engine, by name.

A query that writes many rows at once ends its VALUES with a single group and `, ...`: it is expanded to as many groups
as there are rows. One statement for many rows is what makes this engine fast: each step of a statement lets other
threads run Python, and getting the interpreter back from a busy one can take milliseconds.
"""

from __future__ import annotations

import re
from functools import cache

from tenuto.stores.rows.queries import queries

__all__ = ["query", "rows_query"]

_ROWS = re.compile(r"\(([^()]*)\), \.\.\.")


@cache
def query(name: str) -> str:
    """The query called `name`."""
    return queries("tenuto.stores.sqlite")[name]


@cache
def rows_query(name: str, rows: int) -> str:
    """The query called `name`, for this many rows."""
    return _ROWS.sub(lambda group: ", ".join([f"({group[1]})"] * rows), query(name))
