"""Rows that are remembered from one transaction to the next, though others write in between.

Every transaction leaves with its header what it has changed. Whoever knows the store as it was some transactions ago
takes over what these have changed, and the rest is still true. Who knows nothing begins with what was passed on and
not written yet: tags and virtual times change with every claim, and a row that were rewritten each time would leave a
trail of dead versions behind which everybody has to walk while somebody keeps a transaction open.
"""

from __future__ import annotations

from tenuto.stores.postgres.session import WRITES_ALL, PostgresStatements
from tenuto.stores.rows import Clock, Rows, read_changes

__all__ = ["rows_for"]


def rows_for(
    statements: PostgresStatements, clock: Clock, rows: Rows | None = None, known: tuple[int, int] | None = None
) -> Rows:
    """Rows for the transaction that has just begun: `rows`, where they were true in the state `known`, or new ones."""
    opening = statements.opening
    if rows is not None and opening.state == known:
        rows.begin_again(statements.header())
        return rows
    found = read_changes(opening.changes or "[]")
    seen = rows is not None and opening.follows
    if rows is not None and seen and not any(changes.upset for changes in found):
        rows.begin_again(statements.header())
        take = rows.follow
    else:
        before, rows = rows, Rows(statements, clock)
        if before is not None and seen:
            rows.recall_from(before)
        take = rows.recall
    for version, changes in enumerate(found, opening.base + 1):
        take(changes)
        if version % WRITES_ALL == 0:
            rows.all_written()
    return rows
