"""What must be true after every storm, whatever it raged over."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Ending, StepState
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Kind
from tests.chaos.agents import FAILED, RESOLVED
from tests.chaos.evidence import Evidence
from tests.chaos.histories import replay
from tests.chaos.ledger import Execution
from tests.chaos.stubborn import POISON

__all__ = ["check_all"]

_BODY = re.compile(r"s\d+")
"""Names of steps with a body that writes into the ledger."""
_FREES = frozenset(
    {
        EventKind.DONE,
        EventKind.FAILED,
        EventKind.CANCELLED,
        EventKind.SCHEDULED,
        EventKind.WAITING,
        EventKind.RELEASED,
        EventKind.LOST,
    }
)


def check_all(evidence: Evidence) -> dict[str, int]:
    """Complains about every violation; returns what was counted on the way."""
    counts = {"executions": len(evidence.executions)}
    _check_endings(evidence)
    _check_histories(evidence)
    counts |= _check_steps(evidence)
    counts |= _check_fencing(evidence)
    counts |= _check_feed(evidence)
    _check_limits(evidence)
    return counts


def _check_endings(evidence: Evidence) -> None:
    """Everything has ended, and left nothing behind."""
    for task in evidence.tasks.values():
        if task.state not in FINAL:
            evidence.complain(f"{task.id} is still {task.state}")
        if task.lease_until is not None:
            evidence.complain(f"{task.id} is {task.state} and has a lease")
        if task.gate:
            evidence.complain(f"{task.id} is {task.state} and parked behind {task.gate!r}")
    for task_id, left in evidence.inboxes.items():
        if evidence.tasks[task_id].state is State.DONE:
            evidence.complain(f"{task_id} is done and has {left} messages in its inbox")
    keys = Counter((task.owner, task.idempotency_key) for task in evidence.tasks.values() if task.idempotency_key)
    for (owner, key), count in keys.items():
        if count > 1:
            evidence.complain(f"the idempotency key {key!r} of {owner!r} made {count} tasks")


def _check_histories(evidence: Evidence) -> None:
    """The events of each task are dense, legal, and lead to where the task is."""
    events = evidence.by_task()
    for task in evidence.tasks.values():
        replay(task, events.pop(task.id, []), evidence.complain)
    for task_id in events:
        evidence.complain(f"there are events of {task_id}, which is not in the store")


def _name(key: str) -> str:
    """The step's own name, without its scope and count."""
    return key.rpartition("/")[2].rpartition("#")[0]


def _check_steps(evidence: Evidence) -> dict[str, int]:
    """No recorded step ran again, and what is recorded is what the recording attempt has computed."""
    ran: dict[tuple[str, str], list[Execution]] = defaultdict(list)
    for execution in evidence.executions:
        ran[execution.task, execution.step].append(execution)
    repeated = 0
    for task_id, journal in evidence.journals.items():
        recorded: dict[str, str] = {}
        for step in journal:
            if _name(step.key) == POISON:
                evidence.complain(f"{task_id}: a step was recorded under a stale lease")
            if step.state is StepState.FAILED:
                recorded[_name(step.key)] = FAILED
            if not _BODY.fullmatch(_name(step.key)) or step.state is not StepState.DONE or step.value is None:
                continue  # a wait or a child: no body of ours ran
            executions = ran[task_id, _name(step.key)]
            value = bytes(step.value).decode().strip('"')
            recorded[_name(step.key)] = value
            repeated += max(len(executions) - 1, 0)
            for execution in executions:
                if execution.attempt > step.attempt:
                    evidence.complain(
                        f"{task_id}: step {step.key} was recorded in attempt {step.attempt} "
                        f"and ran again in attempt {execution.attempt}"
                    )
            own = [execution.value for execution in executions if execution.attempt == step.attempt]
            if own != [value] and not value.startswith(RESOLVED):
                evidence.complain(f"{task_id}: step {step.key} has the value {value!r}, and its attempt computed {own}")
        _check_result(evidence, task_id, recorded)
    return {"repeated in flight": repeated}


def _check_result(evidence: Evidence, task_id: str, recorded: dict[str, str]) -> None:
    task = evidence.tasks[task_id]
    if task.state is not State.DONE or task.kind is Kind.GOAL:
        return
    result = evidence.result(task)
    if result == POISON:
        evidence.complain(f"{task_id}: the result of a stale lease was accepted")
    elif result["values"] != [recorded[name] for name in sorted(recorded, key=lambda name: int(name[1:]))]:
        evidence.complain(f"{task_id}: its result {result['values']} is not what its journal says: {recorded}")


def _check_fencing(evidence: Evidence) -> dict[str, int]:
    """Each hold was given once, and no report under a hold that was over has been accepted."""
    events = evidence.by_task()
    ends: dict[tuple[str, int], list[EventKind]] = defaultdict(list)
    for task_id, history in events.items():
        for event in history:
            if event.kind in _FREES:
                ends[task_id, event.attempt].append(event.kind)
    claimed = Counter((saw.task, saw.attempt) for saw in evidence.saw if saw.what == "claim")
    for (task_id, attempt), count in claimed.items():
        if count > 1:
            evidence.complain(f"{task_id}: attempt {attempt} was given to {count} workers")
    accepted = [saw for saw in evidence.saw if saw.what == "outcome" and saw.answer == Answer.ACCEPTED]
    for saw, count in Counter(accepted).items():
        if count > 1:
            evidence.complain(f"{saw.task}: {count} outcomes of attempt {saw.attempt} were accepted")
        if EventKind.LOST in ends[saw.task, saw.attempt]:
            evidence.complain(f"{saw.task}: attempt {saw.attempt} was lost, and its outcome accepted")
        if saw.detail == Ending.DONE and EventKind.DONE not in ends[saw.task, saw.attempt]:
            evidence.complain(
                f"{saw.task}: the completion of attempt {saw.attempt} was accepted, and there is no event"
            )
    for saw in evidence.refused:
        if saw.answer != Answer.STALE:
            evidence.complain(
                f"{saw.task}: a {saw.what} under the lost lease of attempt {saw.attempt} was {saw.answer}"
            )
    stale = [saw for saw in evidence.saw if saw.answer == Answer.STALE]
    return {
        "stale outcomes refused": sum(saw.what == "outcome" for saw in stale),
        "stale records refused": sum(saw.what == "record" for saw in stale),
        "stale renewals refused": sum(saw.what == "renew" for saw in stale),
        "reports of stubborn workers refused": len(evidence.refused),
        "leases lost": sum(EventKind.LOST in kinds for kinds in ends.values()),
    }


def _check_feed(evidence: Evidence) -> dict[str, int]:
    """The reader that was cut off and resumed saw every event, those of each task in order."""
    seen: dict[str, list[Event]] = defaultdict(list)
    incarnations = again = 0
    for feed in evidence.feeds():
        incarnations += 1
        last: dict[str, int] = {}
        for event in feed:
            known = seen[event.task_id]
            if event.seq <= last.get(event.task_id, 0):
                evidence.complain(f"the reader saw event {event.seq} of {event.task_id} after {last[event.task_id]}")
            last[event.task_id] = event.seq
            if event.seq == len(known) + 1:
                known.append(event)
            elif event.seq > len(known) + 1:
                evidence.complain(f"the reader saw event {event.seq} of {event.task_id} and not {len(known) + 1}")
            else:
                again += 1
                if known[event.seq - 1] != event:
                    evidence.complain(f"the reader saw two different events {event.seq} of {event.task_id}")
    for task_id, events in evidence.by_task().items():
        if seen[task_id] != events:
            evidence.complain(f"the reader saw {len(seen[task_id])} events of {task_id}, which has {len(events)}")
    return {"events": len(evidence.events), "reader incarnations": incarnations, "events read again": again}


def _check_limits(evidence: Evidence) -> None:
    """No more tasks ran at once than their limits allow, and no slot is held any more."""
    most = {use.limit.key: use.limit.concurrency for use in evidence.limits}
    running: dict[str, set[str]] = defaultdict(set)
    complained: set[str] = set()
    for event in evidence.events:
        task = evidence.tasks.get(event.task_id)
        for key in task.limits if task is not None else ():
            if event.kind is EventKind.STARTED:
                running[key].add(event.task_id)
            elif event.kind in _FREES:
                running[key].discard(event.task_id)
            allowed = most.get(key)
            if allowed is not None and len(running[key]) > allowed and key not in complained:
                complained.add(key)
                evidence.complain(f"{len(running[key])} tasks ran at once under {key!r}, which allows {allowed}")
    for use in evidence.limits:
        _check_rate(evidence, use.limit)
        if use.used or use.parked:
            evidence.complain(
                f"the limit {use.limit.key!r} still counts {use.used} slots and {use.parked} parked tasks"
            )


def _check_rate(evidence: Evidence, limit: Limit) -> None:
    """No window of the limit's period holds more starts than its rate, whoever claimed."""
    if limit.rate is None:
        return
    keyed = {task.id for task in evidence.tasks.values() if limit.key in task.limits}
    starts = [event.at for event in evidence.events if event.kind is EventKind.STARTED and event.task_id in keyed]
    for first, beyond in zip(starts, starts[limit.rate :], strict=False):
        if beyond - first < limit.period:
            evidence.complain(f"{limit.rate + 1} tasks started within {beyond - first} ms under {limit}")
            return
