"""The PostgreSQL engine: the store in a schema of a database, for many machines."""

from __future__ import annotations

from tenuto.stores.postgres.lent import sqlalchemy_connection
from tenuto.stores.postgres.store import PostgresStore

__all__ = ["PostgresStore", "sqlalchemy_connection"]
