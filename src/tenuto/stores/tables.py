"""What an engine keeps: rows and indexes, as one transaction sees them.

`stores.rules` carries out every verb of the contract over this protocol, so that an engine decides nothing: it finds
rows and writes rows. All methods are synchronous and belong to one transaction of the engine; what a method writes,
the next one sees. Nothing here checks, and nothing here has consequences elsewhere, except where it says so.

"Number" is a task's place in the order of submission: it rises, and names the row for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from tenuto.stores.base import AgentLoad, TaskFilter, WorkerInfo
from tenuto.stores.books import Books
from tenuto.tasks.clock import Millis
from tenuto.tasks.event import Event, EventKind
from tenuto.tasks.fairness import Lane
from tenuto.tasks.goal import When
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Step
from tenuto.tasks.schedules import Schedule
from tenuto.tasks.signal import Message
from tenuto.tasks.states import State
from tenuto.tasks.task import Task

__all__ = ["Link", "Tables", "Usage"]


class Link(NamedTuple):
    """An edge of a goal as it is stored: between task ids."""

    source: str
    target: str
    when: When


class Usage(msgspec.Struct, frozen=True):
    """What is known about a limit's key."""

    key: str
    limit: Limit | None = None
    """None: nobody defined it, so it limits nothing"""
    used: int = 0
    """slots held"""
    tat: float = 0.0
    """the theoretical arrival time of its rate"""
    opens: Millis | None = None
    """from this instant on parked tasks may find room (0: now); None: when a slot is given back"""

    @property
    def idle(self) -> bool:
        """Nobody has defined it and nothing holds it."""
        return self.limit is None and self.used == 0


class Tables(Books, Protocol):
    """The rows of one store, inside one transaction."""

    @property
    def now(self) -> Millis:
        """The engine's clock: the same instant for the whole transaction, never earlier than one that was stored."""

    def nonce(self) -> int:
        """A fresh random number from 1 to 2**53 - 1."""

    # -- tasks

    def task(self, task_id: str) -> Task | None:
        """One task."""

    def tasks(self, task_ids: Iterable[str]) -> dict[str, Task]:
        """Those that exist, in the order asked for."""

    def numbered(self, number: int) -> Task:
        """The task with this number, which exists."""

    def insert(self, task: Task) -> None:
        """A new row, with the next number."""

    def update(self, task: Task, event: Event | None = None) -> None:
        """Replaces the row with this id, and appends the event that tells of it to the feed."""

    def add_event(self, event: Event) -> None:
        """Appends to the feed."""

    def children(self, parent: str) -> list[Task]:
        """Tasks whose parent is `parent` (a goal's nodes are its children), by number."""

    def active_children(self, parent: str) -> list[Task]:
        """Those of `children` that are not final."""

    def active_descendants(self, task_id: str) -> list[Task]:
        """What is not final below `task_id`, at any depth and also below what has ended, by number: a parent comes
        before its children."""

    def find(self, where: TaskFilter, before: int | None, limit: int) -> list[tuple[int, Task]]:
        """Numbers and tasks that match, newest first; only numbers below `before`."""

    def count_states(self) -> dict[State, int]:
        """Tasks by state, goals not counted."""

    def loads(self) -> list[AgentLoad]:
        """Unfinished tasks by agent (`workers` is 0), by name."""

    # -- keys

    def keyed(self, owner: str, key: str) -> str | None:
        """The id of the task that was submitted under this idempotency key."""

    def add_key(self, owner: str, key: str, task_id: str) -> None:
        """Remembers an idempotency key, as of now."""

    def drop_keys(self, before: Millis, limit: int) -> int:
        """Forgets keys that were remembered before; how many."""

    def unique_holder(self, key: str, states: Sequence[State], but: str = "") -> str | None:
        """The oldest task other than `but` whose `unique.key` is `key` and that is in one of `states`."""

    # -- goals

    def add_links(self, goal: str, links: Iterable[Link]) -> None:
        """Stores a goal's edges, in order."""

    def links(self, goal: str) -> list[Link]:
        """A goal's edges, in the order in which they were stored."""

    def links_from(self, source: str) -> list[Link]:
        """Out-edges of a node."""

    def links_to(self, target: str) -> list[Link]:
        """In-edges of a node."""

    # -- waits

    def expect(self, task_id: str, topics: Iterable[str]) -> None:
        """`task_id` waits for `topics`."""

    def expecting(self, topic: str) -> list[str]:
        """Who waits for `topic`, by number."""

    def met(self, task_id: str, topic: str) -> bool:
        """`topic` has come for `task_id`, which does not wait for it any more; False when it did not."""

    def expect_nothing(self, task_id: str) -> None:
        """The wait of `task_id` is over."""

    # -- inboxes

    def inbox(self, task_id: str) -> list[Message]:
        """Messages that were not consumed, in order."""

    def inbox_size(self, task_id: str) -> int:
        """How many those are."""

    def steered(self, task_id: str, after: int) -> bool:
        """Whether one of those is a steering message with a number above `after`."""

    def has_message_key(self, task_id: str, key: str) -> bool:
        """Whether a message came under this key, consumed or not."""

    def next_message(self, task_id: str) -> int:
        """The number of the next message, from 1; numbers are never used again."""

    def add_message(self, task_id: str, message: Message, key: str | None) -> None:
        """Stores a message."""

    def consume(self, task_id: str, numbers: Iterable[int]) -> None:
        """Takes messages out of the inbox."""

    # -- journals

    def steps(self, task_id: str) -> list[Step]:
        """In the order in which they were first recorded."""

    def step(self, task_id: str, key: str) -> Step | None:
        """One of them."""

    def put_step(self, task_id: str, step: Step) -> None:
        """Appends, or replaces the one with this key in its place."""

    def drop_step(self, task_id: str, key: str) -> None:
        """Forgets one."""

    def drop_steps(self, task_id: str) -> None:
        """Forgets all."""

    # -- blobs

    def blobs(self, root: str, keys: Sequence[str], room: int) -> dict[str, bytes]:
        """Large values: see `stores.base.Blobs`."""

    def put_blob(self, root: str, key: str, data: bytes) -> None:
        """Stores it, unless it is there."""

    # -- claiming

    def bands(self, agents: Sequence[str]) -> list[int]:
        """The bands in which these agents have claimable tasks, ascending."""

    def lanes(self, agent: str, band: int, want: int) -> list[Lane]:
        """The lanes with claimable tasks (`Task.claimable`), lowest (tag, owner) first: all, or at least `want` and
        at least 64 of them; each with its weight and its best `want` heads. Tags are as stored: 0.0 for a new lane."""

    def open_lane(self, agent: str, band: int, owner: str) -> None:
        """A task of this lane has become claimable: `lanes` must find it."""

    def set_tag(self, agent: str, band: int, owner: str, tag: float) -> None:
        """Stores a lane's tag. It may be forgotten when the lane is empty and the virtual time has passed it."""

    def virtual(self, agent: str, band: int) -> float:
        """The virtual time of an agent's band, 0.0 at first."""

    def set_virtual(self, agent: str, band: int, virtual: float) -> None:
        """Stores it."""

    def set_weight(self, owner: str, weight: float) -> None:
        """An owner's weight."""

    # -- limits

    def usage(self, key: str) -> Usage:
        """A key's row, or a new one with nothing used."""

    def set_usage(self, usage: Usage) -> None:
        """Stores it; where it says nothing (`Usage.idle`), it is forgotten."""

    def usages(self) -> list[Usage]:
        """All keys with a definition, by key."""

    def opened(self, limit: int) -> list[Usage]:
        """Keys that are defined and whose `opens` is not later than now, by (opens, key)."""

    def parked(self, key: str, agent: str, want: int) -> list[Task]:
        """READY tasks of `agent` behind `key` (`gate`, paused ones not), by priority, then number."""

    def parked_agents(self, key: str) -> list[tuple[str, int]]:
        """Agents with such tasks, by name, and how many of them."""

    # -- time

    def due(self, limit: int) -> list[Task]:
        """Tasks whose `due` is not later than now, by (due, number)."""

    def next_due(self) -> Millis | None:
        """The earliest of: a task's `due`, a positive `opens`, a schedule's `next_at` (paused ones not)."""

    # -- schedules

    def schedule(self, name: str) -> Schedule | None:
        """One schedule."""

    def schedules(self) -> list[Schedule]:
        """All, by name."""

    def due_schedules(self, limit: int) -> list[Schedule]:
        """Those not paused whose `next_at` is not later than now, by (next_at, name)."""

    def put_schedule(self, schedule: Schedule) -> None:
        """Creates or replaces."""

    def drop_schedule(self, name: str) -> bool:
        """False when there is none."""

    # -- workers

    def put_worker(self, worker: WorkerInfo) -> None:
        """Creates or replaces."""

    def workers(self, since: Millis) -> list[WorkerInfo]:
        """Those seen at or after `since`, by id."""

    def drop_workers(self, before: Millis) -> None:
        """Forgets those not seen since."""

    # -- feed

    def last_cursor(self) -> int:
        """Where the feed ends, 0 when it is empty."""

    def events(
        self,
        after: int,
        *,
        task_id: str | None,
        root: str | None,
        owner: str | None,
        kinds: Sequence[EventKind],
        limit: int,
    ) -> tuple[list[Event], int]:
        """Events that match, after the cursor `after`, in order and with their own cursors; and where to read on."""

    # -- purge

    def ended_roots(self, before: Mapping[State, Millis], limit: int) -> list[str]:
        """Roots in a final state that ended before the instant given for it, and whose tree has no task that is
        active or still holds slots; those that ended first come first."""

    def purge_tree(self, root: str) -> None:
        """Removes everything that belongs to the tree. Idempotency keys stay."""
