"""SQL by name.

Queries live in the files of an engine's `sql/`: each begins with `-- name: <name>`, followed by a sentence that says
what it is for.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

__all__ = ["queries"]

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def queries(package: str) -> dict[str, str]:
    """The queries of an engine, by name, without comments and line ends."""
    found: dict[str, str] = {}
    for file in (resources.files(package) / "sql").iterdir():
        if file.name.endswith(".sql"):
            parts = _NAME.split(file.read_text(encoding="utf-8"))
            found.update(zip(parts[1::2], map(_plain, parts[2::2]), strict=True))
    return found


def _plain(text: str) -> str:
    lines = (line.partition("--")[0].strip() for line in text.splitlines())
    return " ".join(line for line in lines if line).rstrip(";")
