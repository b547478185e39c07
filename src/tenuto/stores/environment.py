"""Which store the environment names."""

from __future__ import annotations

import os

__all__ = ["DEFAULT_STORE", "default_store"]

DEFAULT_STORE = "sqlite:///.tenuto/tenuto.db"


def default_store() -> str:
    """The store of this environment: `TENUTO_STORE`, else `REDIS_HOST` and `REDIS_PORT`, else a file here."""
    chosen = os.environ.get("TENUTO_STORE")
    if chosen:
        return chosen
    host = os.environ.get("REDIS_HOST")
    return f"redis://{host}:{os.environ.get('REDIS_PORT') or 6379}/0" if host else DEFAULT_STORE
