"""Which entry of the journal is that of a tool's call.

A call that a person approved has run under a key of its own. Whether a tool needs an approval may change while its
call waits for the other calls of the turn: what has run has run, under whichever key.
"""

from __future__ import annotations

from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.turns import outcome_of
from tenuto.workers.journal import Journal

__all__ = ["has_run", "on_record"]

_APPROVED = "@approved"


async def on_record(journal: Journal, base: str, *, approved: bool) -> tuple[str, Step | None]:
    """The entry of a call, if there is one, and its key. base: that of a call which needed no approval."""
    now, else_ = (base + _APPROVED, base) if approved else (base, base + _APPROVED)
    if (step := journal.note(now)) is not None:
        return now, step
    return (else_, journal.note(else_)) if await has_run(journal, else_) else (now, None)


async def has_run(journal: Journal, key: str) -> bool:
    """Whether the tool of the call `key` has begun its work, and not only asked for an approval."""
    step = journal.note(key)
    if step is None or step.state is not StepState.DONE:
        return step is not None
    return outcome_of({"tool_name": "", "tool_call_id": ""}, await journal.value(step)) is not None
