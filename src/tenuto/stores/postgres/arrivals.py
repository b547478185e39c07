"""Arrivals: what callers submit inside their own transactions, and how it comes into the store.

A caller's transaction may stay open for minutes, so it must not hold the store's lock. It writes its trees into a table
of their own; the first transaction of the store that sees them, anywhere, admits them by the ordinary rule before it
does anything else. So does whoever reads: what a caller has committed is there.

What the caller was told must still be true when it commits. So an id, an idempotency key or a unique key that an open
transaction has submitted belongs to it until it ends: names are advisory locks. Transactions of the store need to look
at them only while such callers exist, and that is one more lock: callers share it, the store's transactions try to have
it for themselves. They look when they submit, and when they retry a task that would take its unique key back.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tenuto.observability.logging import logger
from tenuto.stores.base import Delivered, Submission, Verdict
from tenuto.stores.postgres.connection import Address
from tenuto.stores.postgres.session import PostgresStatements
from tenuto.stores.rows import Rows
from tenuto.stores.rules.signals import signal as deliver
from tenuto.stores.rules.submit import submit
from tenuto.stores.rules.work import Work
from tenuto.tasks.goal import Tree
from tenuto.tasks.signal import Delivery, Signal, SignalKind

__all__ = [
    "BLOCKED",
    "admit",
    "deliver_beside_callers",
    "names_of",
    "packed",
    "rehearse",
    "submit_beside_callers",
    "unpacked",
]

log = logger("tenuto.store")

BLOCKED = "a transaction that is still open submits {!r}, or a name in it: try again when that has ended"

_MOST_AT_ONCE = 64
"""Arrivals that one transaction admits."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(tuple[Tree, ...])
_listed = msgspec.json.Decoder(list[tuple[int, str]])
_numbers = msgspec.json.Decoder(list[int])


def packed(trees: Sequence[Tree]) -> str:
    """`trees` as they are stored until they are admitted."""
    return _encoder.encode(trees).decode()


def unpacked(text: str) -> Sequence[Tree]:
    """The trees of one arrival."""
    return _decoder.decode(text)


def names_of(tree: Tree, address: Address) -> dict[int, str]:
    """The locks of the names that `tree` would like to have."""
    root = tree.root
    names = [f"task {root.id}", *(f"task {node.id}" for node in tree.nodes)]
    if root.idempotency_key is not None:
        names.append(f"key {root.owner}\0{root.idempotency_key}")
    if root.unique is not None:
        names.append(_unique(root.unique.key))
    return {address.number(name): name for name in names}


def _unique(key: str) -> str:
    return f"unique {key}"


def admit(work: Work) -> None:
    """Stores what has arrived. Called before anything else of a transaction."""
    rows, statements = _parts(work)
    text = rows.value("arrivals", str(statements.settled), _MOST_AT_ONCE)
    if text is None:
        return
    admitted: list[int] = []
    for number, trees in _listed.decode(text):
        try:
            found = unpacked(trees)
        except msgspec.MsgspecError as error:
            log.warning(
                "a submission that was committed cannot be read, and is kept aside", number=number, why=str(error)
            )
            rows.run("set_arrival_aside", number, str(error))
            continue
        for answer in submit(work, found, promised=True):
            if answer.verdict is not Verdict.CREATED:
                log.warning("a submission that was committed was not stored", task=answer.task_id, why=answer.detail)
        admitted.append(number)
    if admitted:
        rows.run("forget_arrivals", admitted)


def rehearse(work: Work, earlier: Sequence[Sequence[Tree]], trees: Sequence[Tree]) -> list[Submission]:
    """What is answered to `trees` after `earlier`, in a transaction that will be rolled back.

    All of it is written, so that what cannot be stored is found out now and not when the caller has committed.
    """
    rows, statements = _parts(work)
    for each in earlier:
        submit(work, each)
    answers = submit(work, trees)
    rows.write()
    statements.flush()
    return answers


def submit_beside_callers(work: Work, trees: Sequence[Tree], address: Address) -> list[Submission]:
    """Stores `trees` while callers have transactions open; what one of those submits is refused."""
    taken = _open_names(work)
    if not taken:
        return submit(work, trees)
    names = [names_of(tree, address) for tree in trees]
    free = [tree for tree, wanted in zip(trees, names, strict=True) if not taken & wanted.keys()]
    answers = iter(submit(work, free))
    return [
        Submission(tree.root.id, Verdict.CONFLICT, BLOCKED.format(tree.root.id))
        if taken & wanted.keys()
        else next(answers)
        for tree, wanted in zip(trees, names, strict=True)
    ]


def deliver_beside_callers(work: Work, signals: Sequence[Signal], address: Address) -> list[Delivered]:
    """Delivers `signals` while callers have transactions open; a retry may not take what one of those submits."""
    taken = _open_names(work)
    if not taken:
        return deliver(work, signals)
    answers: list[Delivered] = []
    for signal in signals:
        task = work.tables.task(signal.task_id) if signal.kind is SignalKind.RETRY else None
        if task is not None and task.unique is not None and address.number(_unique(task.unique.key)) in taken:
            detail = f"a transaction that is still open submits the unique key {task.unique.key!r} of {task.id!r}"
            answers.append(Delivered(Delivery.REFUSED, f"{detail}: try again when that has ended"))
        else:
            answers += deliver(work, [signal])
    return answers


def _open_names(work: Work) -> set[int]:
    """The names that belong to callers' open transactions."""
    rows, statements = _parts(work)
    if not statements.callers:
        return set()
    taken = set(_numbers.decode(rows.value("open_names")))
    admit(work)  # who had a name a moment ago may have committed
    return taken


def _parts(work: Work) -> tuple[Rows, PostgresStatements]:
    assert isinstance(work.tables, Rows)
    assert isinstance(work.tables.statements, PostgresStatements)
    return work.tables, work.tables.statements
