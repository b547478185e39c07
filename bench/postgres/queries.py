"""Reads SQL files: `-- name: this` begins the query called `this`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

__all__ = ["queries_of"]


def queries_of(module: str) -> Mapping[str, str]:
    """The queries of the SQL file beside the Python file `module`, by name."""
    text = Path(module).with_suffix(".sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], (part.strip() for part in parts[2::2]), strict=True))
