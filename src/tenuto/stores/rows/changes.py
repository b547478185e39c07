"""What a transaction has changed, for those who keep rows in memory elsewhere: they forget or correct just that.

An engine may pass it on with the transaction. Whoever has seen every transaction then still knows the lanes, their best
tasks and the instants, though others write too.
"""

from __future__ import annotations

import msgspec

from tenuto.tasks.clock import Millis

__all__ = ["Changes", "LaneChange", "changes_of", "read_changes"]

_MOST = 4_096
"""Entries of one transaction; beyond that it is cheaper to read anew."""


class LaneChange(msgspec.Struct, array_like=True):
    """A lane as it is now."""

    number: int
    agent: str
    band: int
    owner: str
    tag: float
    open: bool


class Changes(msgspec.Struct, array_like=True, gc=False):
    """What others have to know."""

    upset: bool = False
    """what changed is not said: nothing that is remembered is true any more"""
    tasks: dict[int, Millis | None] = {}
    """tasks that were written, and their instants"""
    heads: list[tuple[int, int, int, bool]] = []
    """lane, rank, number: tasks that became claimable or not, in the order in which that happened"""
    lanes: list[LaneChange] = []
    virtuals: list[tuple[str, int, float]] = []
    limits: list[str] = []
    awaited: list[str] = []
    """ids of tasks whose end someone waits for now"""
    timers: bool = False
    """schedules, or when limits open"""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(list[Changes])


def changes_of(changes: Changes) -> str:
    """As text."""
    if len(changes.tasks) + len(changes.heads) > _MOST:
        changes = Changes(upset=True, lanes=changes.lanes, virtuals=changes.virtuals)
    return _encoder.encode(changes).decode()


def read_changes(text: str) -> list[Changes]:
    """Those of several transactions, in order, from a JSON array."""
    return _decoder.decode(text)
