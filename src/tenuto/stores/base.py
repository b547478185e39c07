"""The store contract: where the truth lives, in prose and types.

Four small contracts, kept together by one engine: `Store` (tasks), `Limits` (what tasks share), `Money` (what they may
use, see `stores.money`), `Blobs` (large values). Engines: `memory` (the reference model), `sqlite`, `redis` and
`postgres`. One conformance suite and one stateful property test run against all of them; where an engine and `memory`
differ, the engine is wrong.

What every engine keeps:

 1. **Transitions.** The functions of `tasks.transitions` say what becomes of a task. A transition and its event are
    written in one transaction. Final states change only by an explicit retry.
 2. **Fencing.** No report under a stale hold is accepted: id, attempt and nonce are compared together.
 3. **No lost wake-up.** A wait is checked under the lock that stores it. What ends a task and what that means for
    others (edges, waits, goal) is one transaction. An engine whose server must not be held for long may do it in
    pieces where it concerns many: what it has begun it finishes, whoever began it is gone or not; from the first piece
    on no task that is cancelled or paused can be claimed and no report about what is cancelled is accepted; and whoever
    caused it gets the answer when all is done.
 4. **Time.** The engine's clock: injected, and never behind the latest instant that was stored. Hints are only
    hints: they may be lost, doubled or late. `next_due` and polling are the truth.
 5. **Order.** Bands; inside a band fair share between owners; inside an owner priority, then age (`tasks.fairness`).
    The engine is work-conserving: a claim leaves no slot empty while a claimable task remains, except that it
    *parks* at most `MOST_PARKED` tasks behind full limits in one go and then says `more`.
 6. **Cost.** A verb costs O(its batch), never O(history). Transactions stay short.
 7. **Purge** takes whole trees, some time after the root ended, once no task of the tree is active. It leaves nothing
    but totals of usage, and idempotency keys, which have their own time to live.

A batch is transport: each item answers for itself. An exception means that nothing of the batch is known to have
happened; repeating it is safe (ids, idempotency keys, message keys, holds and request numbers make every verb
idempotent).

**Limits.** A running task holds a slot of each of its keys. A claim that meets a key without room (slots or rate)
parks the task behind the first such key (`task.gate`) and consumes nothing. When a key has room again (a slot was given
back, an instant of its rate has come, its definition changed), the next claim or sweep puts back the best parked tasks
(priority, then age): for each agent as many as there is room, so that room is never kept from those who could use it
for a task that nobody claims. A rate that is used up has its next instant in `next_due`; slots given back are hinted to
the agents of parked tasks. A key without a definition limits nothing. Retries and waits give slots back and take them
again at the next claim. A gate is no transition and has no event.

**Money.** Calls are reserved and settled with the records they belong to (`tasks.money`). When the lease of an attempt
ends, however it does, its calls that were not settled are `unknown` in the same transaction.

**Ends.** When a task reaches a final state, in the same transaction: its slots are freed (unless its worker still has
to let go), tasks that wait for it are woken, its out-edges are decided, and a goal whose last node ended gets its
outcome. A cancelled or expired task takes every unfinished descendant with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from tenuto.stores.answers import (
    AgentLoad,
    Claim,
    Delivered,
    EventPage,
    Exchange,
    Exchanged,
    Hint,
    LimitUse,
    Renewal,
    Submission,
    Submitted,
    Swept,
    TaskFilter,
    TaskPage,
    TimeToLive,
    Verdict,
    Why,
    WorkerInfo,
)
from tenuto.stores.money import Money
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Goal, Tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Record, Recorded, Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Message, Signal
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = [
    "MOST_MESSAGES",
    "MOST_PARKED",
    "AgentLoad",
    "Blobs",
    "Claim",
    "Delivered",
    "EventPage",
    "Exchange",
    "Exchanged",
    "Hint",
    "LimitUse",
    "Limits",
    "Maintained",
    "Money",
    "Renewal",
    "Store",
    "Submission",
    "Submitted",
    "Swept",
    "TaskFilter",
    "TaskPage",
    "TimeToLive",
    "Verdict",
    "Why",
    "WorkerInfo",
]

MOST_PARKED = 256
"""Tasks that one claim parks behind full limits before it answers with `more`."""

MOST_MESSAGES = 10_000
"""Messages in one task's inbox that were not consumed; a further one is refused."""


class Blobs(Protocol):
    """Large values, stored once per tree under the hash of their content. They arrive with the commit that refers to
    them, and leave with their tree."""

    async def blobs(self, root: str, keys: Sequence[str], room: int) -> Mapping[str, bytes]:
        """The values stored for the tree `root` under `keys`, without those that are not there: as many of them, in
        this order, as have no more than `room` bytes together; the first one in any case."""


class Limits(Protocol):
    """What tasks share: limits by key, weights by owner."""

    async def put_limit(self, limit: Limit) -> None:
        """Defines or replaces; what was used up so far stays used up."""

    async def drop_limit(self, key: str) -> bool:
        """Removes the definition, and puts back every task parked behind it; False when there was none."""

    async def limits(self) -> Sequence[LimitUse]:
        """All limits, by key."""

    async def put_weight(self, owner: str, weight: float) -> None:
        """An owner's share relative to the others, 0.001 to 1000; 1 unless said."""


class Store(Limits, Money, Blobs, Protocol):
    """The store. Every method may be called from any thread and any event loop."""

    url: str
    """how it was opened, without secrets"""

    async def open(self, *, create: bool = True) -> None:
        """Connects and brings the schema up to date. Idempotent.

        `create`: makes a store where there is none; else that is `NotFound`, and nothing is changed. Raises a
        `StoreError` that says what to do.
        """

    async def close(self) -> None:
        """Ends what was begun, then disconnects. Idempotent."""

    # writing

    async def submit(self, trees: Sequence[Tree], *, connection: Any = None) -> Submitted:
        """Stores trees, each whole or not at all.

        Same id, or same (owner, idempotency key): EXISTING when the content is equal, else CONFLICT; a tree earlier in
        the same batch counts as stored, except that a *new* id used twice in one batch is REFUSED for the later one.
        Unique keys: EXISTING names the task that holds the key. A node has its own id when that is free, else
        `<goal>.<node>`. Idempotency and unique keys belong to roots. Refused trees (`goal.check_tree`) change nothing.

        `connection`: on SQLite (an `apsw.Connection`) and PostgreSQL (of psycopg, or of SQLAlchemy over it), the
        caller's own connection with an open transaction: the trees exist when and only when the caller commits. Others
        are told by PostgreSQL when that happens; SQLite sends no hint then. A name that another caller's open
        transaction submits is a CONFLICT on PostgreSQL until that ends.
        """

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        """Commits outcomes and claims the next tasks, in one round trip.

        ACCEPTED: applied. ALREADY: the task's latest hold is this one, and it has reported before. STALE: any other
        hold; where the task was cancelled or expired under this hold, its slots are freed now. INVALID: unknown task,
        a DONE without result, RETRY or FAILED without error, WAIT without wait.
        """

    async def renew(self, worker: WorkerInfo, holds: Sequence[Hold], lease: Millis) -> Sequence[Renewal]:
        """Extends leases to `lease` milliseconds from now, and notes the worker's presence.

        A worker that says it has no slots has left.
        """

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        """Appends to journals, with children, events and consumed messages, and extends the leases.

        A step whose key is recorded already as DONE or FAILED is left as it is; STARTED may become DONE or FAILED. A
        child whose id exists is left as it is; one of a paused task is paused. New steps reset `failures`. Records of
        one task are applied in order.
        INVALID: a child, a reservation or a settlement that cannot be accepted (`detail` says why), so also a
        reservation of a call that is settled or reserved for something else ("Repeats" in `tasks.money`). UNREAD: the
        record says how far its worker has read the inbox (`read`), and steering lies there beyond that: so no request
        to a model is announced without what was said before it. REFUSED: a reservation without room, `refused` says
        where. Of any of these nothing is stored, and its lease is not extended. Where several are true, the first one
        here is answered.
        """

    async def transact(self, hold: Hold, step: Step, work: Callable[[Any], bytes], lease: Millis) -> Recorded:
        """Runs `work(connection)` in a write transaction of the engine and records `step`, with the JSON that `work`
        returned as its value, in the same transaction. Engines without SQL raise `NeedsSql`. What `work` raises is
        raised to the caller, and nothing is stored."""

    async def signal(self, signals: Sequence[Signal]) -> Sequence[Delivered]:
        """Applies directives and stores messages, in order. See `SignalKind` for each.

        CANCEL of a final task: FINISHED. PAUSE and RESUME reach every unfinished descendant; ALREADY when the task
        itself has the flag already. RETRY: a task in DONE starts over with an empty journal; FAILED or CANCELLED
        goes on with the journal it has unless `fresh`, and with what was cancelled below it because it ended. A goal:
        `goal.revivable`; REFUSED when nothing can be revived.
        A node whose goal is final: REFUSED (retry the goal). A node of an unfinished goal, when it failed: it and what
        was skipped for it. A unique key that another task holds now: REFUSED. RESOLVE: the step must be STARTED and the
        task not RUNNING, or both FAILED, else REFUSED; `done` (with `value`) and `fail` (with `value` as message)
        settle it, `retry` removes it; a pause that waited for it is lifted. Messages to final tasks: FINISHED.
        """

    async def sweep(self, limit: int, ttl: TimeToLive) -> Swept:
        """Does what time brings, at most `limit` items: leases that ended, delays, waits, deadlines, rates, schedules,
        purge. Several sweepers are harmless."""

    async def put_schedule(self, schedule: Schedule) -> Schedule:
        """Creates or replaces by name. `next_at` is kept when rule and zone did not change, else counted from now."""

    async def delete_schedule(self, name: str) -> bool:
        """False when there is none."""

    async def purge(self, before: Millis, states: Sequence[State] = (), limit: int = 1_000) -> int:
        """Removes trees whose root ended before `before`, whatever their time to live, at most `limit`; how many."""

    # reading

    async def task(self, task_id: str) -> Task | None:
        """One task or goal."""

    async def tasks_by_id(self, task_ids: Sequence[str]) -> Mapping[str, Task]:
        """Those of `task_ids` that exist."""

    async def tasks(self, where: TaskFilter, cursor: str | None = None, limit: int = 100) -> TaskPage:
        """A page of the list, newest first."""

    async def goal(self, goal_id: str) -> Goal | None:
        """A goal with its nodes and edges; None when there is no such goal."""

    async def journal(self, task_id: str) -> Sequence[Step]:
        """The steps of the present epoch, in the order in which they were first recorded."""

    async def inbox(self, task_id: str) -> Sequence[Message]:
        """The messages that were not consumed, in order."""

    async def events(
        self,
        after: str | None = None,
        *,
        task_id: str | None = None,
        root: str | None = None,
        owner: str | None = None,
        kinds: Sequence[EventKind] = (),
        limit: int = 1_000,
    ) -> EventPage:
        """A page of the feed after the cursor `after` (None: from the beginning; "now": from the latest on)."""

    async def schedules(self) -> Sequence[Schedule]:
        """All schedules, by name."""

    async def agents(self) -> Sequence[AgentLoad]:
        """Every agent that has unfinished tasks or live workers, by name."""

    async def workers(self) -> Sequence[WorkerInfo]:
        """Workers seen in the last minute."""

    async def stats(self) -> Mapping[State, int]:
        """How many tasks are in each state; goals not counted."""

    async def why(self, task_id: str) -> Why | None:
        """Why a task does not run, in sentences."""

    # hints

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        """Calls `listener`, from any thread, soon after commits of this and other processes; returns how to stop.
        Listeners must be quick and must not raise."""


@runtime_checkable
class Maintained(Store, Protocol):
    """What engines that keep their content offer besides, to those who look after it (`tenuto store`). The store need
    not be open for it."""

    async def info(self) -> dict[str, Any]:
        """What there is to know: `bytes` of storage in use, `durability` in a sentence, and whatever the engine has to
        say; where it has a schema also `schema`, its number now (0: none yet), and `latest_schema`."""

    async def check(self) -> list[str]:
        """What is wrong with the content, in sentences; empty when nothing is. Changes nothing."""

    async def compact(self) -> None:
        """Gives the room that a purge has freed back, as far as the engine does not do that by itself."""
