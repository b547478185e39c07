"""The Redis engine: the whole store on one server, in scripts that run inside it."""

from __future__ import annotations

from tenuto.stores.redis.store import RedisStore

__all__ = ["RedisStore"]
