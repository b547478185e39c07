"""The plan of a storm: what is killed, frozen, slowed down or cut off, and when, all of it from one seed.

"When" is a count of progress, not a time: executions of step bodies for the workers and the reader, accepted tasks
for the submitting client. The same seed is the same plan on a fast machine and on a slow one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Action", "Blow", "StormPlan", "plan_storm"]


class Blow(StrEnum):
    """What happens to a process."""

    KILL = "kill"
    """SIGKILL; another one starts in its place at once"""
    FREEZE = "freeze"
    """SIGSTOP, for longer than its leases last, then SIGCONT"""
    CUT_READER = "cut off the reader"
    """SIGKILL; another one goes on from the cursor that was saved last"""
    KILL_DRIVER = "kill the driver"
    """SIGKILL of the client that cancels, answers or retries; another one begins again"""
    STUBBORN = "stubborn worker"
    """a program that ignores the end of its leases claims a few tasks, and reports when it is too late"""
    KILL_SERVER = "kill the server"
    """SIGKILL of all of its processes; it starts again soon, with what is on its disk"""
    FAIL_OVER = "failover"
    """SIGKILL of all processes of the server; a standby takes its place, which has all that was answered"""
    FREEZE_SERVER = "freeze the server"
    """SIGSTOP: connections stay open and nobody answers; then SIGCONT"""
    PARTITION = "silent network"
    """nothing comes through between one worker (or the clients) and the server, for longer than leases last; what was
    held back arrives afterwards, or the connections are cut"""
    LOSE_ANSWERS = "lost answers"
    """requests still arrive, their answers do not, and then the connections are cut"""
    CUT = "cut connections"
    """resets those of one worker, or of the clients"""
    SLOW = "slow network"
    """for one worker, or the clients"""


@dataclass(frozen=True)
class Action:
    """One blow."""

    after: int
    """executions"""
    blow: Blow
    slot: int = 0
    """which worker"""
    leases: float = 0.0
    """how long, in leases, where it lasts"""
    cut: bool = False
    """PARTITION: connections are cut in the end"""


@dataclass(frozen=True)
class StormPlan:
    """All blows, in order."""

    actions: tuple[Action, ...]
    submitter_kills: tuple[int, ...]
    """counts of submitted tasks at which the submitting client is killed"""


def plan_storm(
    seed: int,
    *,
    executions: int,
    submissions: int,
    slots: int,
    blows: int,
    stubborn: int = 2,
    driver: int = 0,
    faults: Sequence[Blow] = (),
    times: int = 1,
) -> StormPlan:
    """The plan that follows from `seed` for about so many executions and submissions.

    `faults` of the server and the network come so many `times` each. The network of the clients counts as one slot more
    than there are workers.
    """
    rng = random.Random(seed)
    actions: list[Action] = []

    def some(count: int, blow: Blow) -> None:
        for _ in range(count):
            after = rng.randrange(max(1, executions * 95 // 100))
            actions.append(Action(after, blow, rng.randrange(slots), rng.uniform(1.3, 2.5)))

    frozen = max(2, blows // 4)
    some(blows - frozen, Blow.KILL)
    some(frozen, Blow.FREEZE)
    some(max(3, blows // 3), Blow.CUT_READER)
    some(stubborn, Blow.STUBBORN)
    some(driver, Blow.KILL_DRIVER)
    for fault in faults:
        for _ in range(times):
            after = rng.randrange(max(1, executions * 9 // 10))
            actions.append(Action(after, fault, rng.randrange(slots + 1), rng.uniform(1.1, 3.0), rng.random() < 0.5))
    actions.sort(key=lambda action: action.after)
    most = max(1, submissions - 1)
    kills = sorted(rng.randrange(1, most + 1) for _ in range(min(most, max(2, blows // 5))))
    return StormPlan(tuple(actions), tuple(kills))
