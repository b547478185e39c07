"""What is said where a store is to be read and there is none: a read makes nothing."""

from __future__ import annotations

from pathlib import Path

from tenuto.errors import NotFound

__all__ = ["no_store"]


def no_store(where: str | Path) -> NotFound:
    """The error for whoever reads at `where`, a URL without secrets or a path."""
    return NotFound(
        f"there is no Tenuto store at {where}: the first submission or worker makes one, or name another with --store"
    )
