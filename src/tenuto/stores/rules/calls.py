"""What a record may say of calls that are known already: each is reserved once. See "Repeats" in `tasks.money`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tenuto.errors import InvalidInput
from tenuto.stores.books import Call, CallName
from tenuto.tasks.money import Reserve, Settle
from tenuto.tasks.usage import CallState

__all__ = ["check_calls", "objection"]

_WHY = {
    "early": "is settled for attempt {attempt}, which has not begun: settle what was called",
    "twice": "is reserved by a record that settles or reserves it already: give each call a name of its own",
    "settled": "is settled in attempt {attempt} already: reserve the next call under a name of its own",
    "other": "is reserved in attempt {attempt} already, with another bound, model or rate: repeat it as it was, or "
    "reserve another call under a name of its own",
}


def check_calls(
    task_id: str,
    attempt: int,
    known: Mapping[CallName, Call],
    settles: Sequence[Settle],
    reserves: Sequence[Reserve],
) -> None:
    """Raises `InvalidInput` where a record of the attempt that holds the task says what cannot be."""
    for settle in settles:
        if settle.attempt > attempt:
            raise objection("early", task_id, settle.call, settle.attempt)
    named = {CallName(settle.attempt or attempt, settle.call) for settle in settles}
    for reserve in reserves:
        name = CallName(attempt, reserve.call)
        call = known.get(name)
        if name in named:
            raise objection("twice", task_id, reserve.call, attempt)
        if call is not None and call.state is not CallState.RESERVED:
            raise objection("settled", task_id, reserve.call, attempt)
        if call is not None and not _same(call, reserve):
            raise objection("other", task_id, reserve.call, attempt)
        named.add(name)


def objection(why: str, task_id: str, call: str, attempt: int) -> InvalidInput:
    """What is said of a call that cannot be accepted."""
    return InvalidInput(f"call {call!r} of task {task_id!r} {_WHY[why].format(attempt=attempt)}")


def _same(call: Call, reserve: Reserve) -> bool:
    """It is this reservation that was granted, as far as it was counted."""
    units = dict(reserve.rates)
    return (call.bound, call.model) == (reserve.bound, reserve.model) and all(
        units.get(taken.key) == taken.units for taken in call.taken
    )
