"""What the server is configured to keep, in a sentence for people."""

from __future__ import annotations

from tenuto.stores.postgres.connection import Address, Connection
from tenuto.stores.postgres.queries import query

__all__ = ["durability"]


def durability(connection: Connection, address: Address) -> str:
    """What of an answered commit survives which accident, as the server is set now. `synchronous_commit` does not
    count: the store sets it for its own transactions."""
    row = connection.execute(query("durability", address.schema)).fetchone()
    assert row is not None
    fsync, standbys = row
    if fsync == "off":
        return "fsync is off: a crash of the server's machine can lose or damage everything."
    if not standbys:
        return "What was answered is on the server's disk; a failover to a standby can lose the latest of it."
    return f"What was answered is on the disks of the server and of its synchronous standbys ({standbys})."
