"""The journal of one running task: what it has been through, and what it adds.

A task that was interrupted runs its function from the start. Each verb of the context first asks the journal whether
this very call was recorded before; if so, it gets the recorded answer and nothing runs. The first call that is not
recorded is where the work goes on.

                    function ──► verb ──► Scope.take: which call is this?
                                   │
                     recorded ◄────┴────► not recorded
                        │                     │ run it
                        │                     ▼
                        │                  commit: one record request for all tasks of the worker
                        └──────► value ◄──────┘ only now does the program see it

Invariants, and why:

 1. A value reaches the program only after it is durable: nothing is ever built on a step that could be run again.
    (The exceptions are `effect="pure"`, which gives the same value whenever it runs, and *early* values, on whose
    strength nothing is begun: the result of a tool that is alone in its turn becomes durable with the announcement of
    the next request to the model. No early value waits for longer than 50 ms.)
 2. The program sees what the journal holds (a tuple comes back as a list, also the first time): replay cannot differ.
 3. A failed step is committed when the program goes on to its next call, with or before it. As long as the failure may
    still end the attempt it is not recorded, so that the task's retry runs the step again; once the program has caught
    it and gone on, replay raises it again. (A step that may run only once is recorded at once, however it ends.)
 4. A program that asks for another call than the one recorded at the same position, or ends while its journal still
    holds calls that it did not make, was changed. Nothing runs then: `JournalMismatch`, and the task is paused.
    A position that was never recorded was in flight when the worker died: it runs.
 5. Whatever ended the attempt (`halt`) is raised again by every further verb.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NoReturn, TypedDict, Unpack

import msgspec

from tenuto.errors import InvalidInput, JournalMismatch, LeaseLost
from tenuto.stores import large
from tenuto.tasks.blobs import apart
from tenuto.tasks.clock import Millis
from tenuto.tasks.lease import Lease
from tenuto.tasks.money import Refusal, Reserve, Settle
from tenuto.tasks.outcome import Answer, Record, Recorded, Step, StepState
from tenuto.tasks.signal import Message
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.values import decode, encode
from tenuto.tasks.waits import Wait
from tenuto.workers.blobs import blobs_of
from tenuto.workers.early import Early
from tenuto.workers.inbox import Inbox
from tenuto.workers.interruption import HandedBack, Suspended
from tenuto.workers.scopes import CURRENT, NOTE, Place, Scope, scope_of
from tenuto.workers.services import Services
from tenuto.workers.telling import told_before_wait

__all__ = ["Journal", "NotGranted", "Unread"]

_VERSION = "@version"
_GATHER = "a gather"
_MOST_UNSETTLED = 64
"""Reports of progress on their way, from which on a task waits for them."""


class Along(TypedDict, total=False):
    """What commits together with steps: see `Record`."""

    consumed: tuple[int, ...]
    spawned: tuple[TaskSpec, ...]
    events: tuple[tuple[str, Any], ...]
    settles: tuple[Settle, ...]
    reserves: tuple[Reserve, ...]
    blobs: Mapping[str, bytes]
    read: int | None


class NotGranted(Exception):
    """A reservation has no room; nothing of its record was stored."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.kind} {refusal.key!r} has no room for call {refusal.call!r}")
        self.refusal = refusal


class Unread(BaseException):  # no error: what was begun without knowing of it begins again
    """Steering has come beyond what a record had read (`Record.read`); nothing of it was stored."""


class Journal:
    """Reads and extends the journal of one attempt."""

    def __init__(self, lease: Lease, services: Services, version: str) -> None:
        self.lease = lease
        self.services = services
        self.root = Scope(self)
        self.halt: BaseException | None = None
        """what ended the attempt"""
        self.grew = False
        """steps came to their end in this attempt, and were recorded"""
        self._began = time.monotonic()
        self._version = version
        self._entries: dict[str, Step] = {}
        self._unread: set[str] = set()
        self._held: dict[str, dict[int, str]] = {}
        """for each scope, what was recorded at which position"""
        self._notes: list[Step] = []
        """entries to be committed with the next record"""
        self._early = Early(self._hand_in)
        self._blobs = blobs_of(services, lease.root)
        self._patched: dict[str, bool] = {}
        self.inbox = Inbox(lease.messages)
        self._unsettled: set[asyncio.Future[Recorded]] = set()
        if version and not lease.steps:
            self._notes.append(Step(_VERSION, NOTE, value=msgspec.Raw(encode(version, "the version"))))

    async def load(self) -> None:
        """Reads what was recorded before. Raises `JournalMismatch` when another version wrote it."""
        store, task_id = self.services.store, self.lease.task_id
        steps = await self.services.patience.ask(lambda: store.journal(task_id), "journal")
        self._blobs.expect(steps)
        for step in steps:
            self._entries[step.key] = step
            if step.position != NOTE:
                self._index(step)
        written = self._entries.get(_VERSION)
        version = "" if written is None else str(await self.value(written))
        if steps and version != self._version:
            self.refuse(
                f"the journal of task {task_id!r} was written by version {version!r} of agent {self.lease.agent!r}, "
                f"and this worker runs version {self._version!r}: run it with the old version, or retry it fresh"
            )

    def _index(self, step: Step) -> None:
        path = scope_of(step.key)
        self._held.setdefault(path, {})[step.position] = step.key
        self._unread.add(step.key)
        while path:
            outer, _, last = path[:-1].rpartition("/")
            path = f"{outer}/" if outer else ""
            position = last.partition(".")[0]
            if position.isdigit():
                self._held.setdefault(path, {})[int(position)] = _GATHER

    # -- calls ---------------------------------------------------------------------------------------------

    @property
    def scope(self) -> Scope:
        """The scope that the running code belongs to."""
        scope = CURRENT.get()
        return scope if scope is not None and scope.owner is self else self.root

    def enter(self, name: str) -> tuple[Place, Step | None]:
        """The place of a call that begins now, and what was recorded for it. Leave the place when the call is over."""
        scope = self.check()
        place = scope.take(name)
        self._expect(scope, place.position, place.key)
        step = self._entries.get(place.key)
        if step is not None:
            self._unread.discard(place.key)
        return place, step

    def enter_gather(self) -> tuple[Scope, int]:
        """The scope and position of a gather that begins now."""
        scope = self.check()
        position = scope.advance()
        self._expect(scope, position, _GATHER)
        return scope, position

    def check(self) -> Scope:
        """The running code's scope; raises what ended the attempt, if something did."""
        if self.halt is not None:
            raise self.halt
        scope = self.scope
        if scope.suspended is not None:
            raise scope.suspended
        return scope

    def _expect(self, scope: Scope, position: int, key: str) -> None:
        recorded = self._held.get(scope.path, {}).get(position)
        if recorded is None and key in self._entries:
            recorded = "nothing"
        if recorded is not None and recorded != key:
            where = f"in branch {scope.path[:-1]!r}, " if scope.path else ""
            self.refuse(
                f"task {self.lease.task_id!r} does not follow its journal: {where}call {position} is {key!r} now, and "
                f"{recorded!r} was recorded there; put the old code back, declare the change with ctx.patched, or "
                "retry the task fresh"
            )

    def refuse(self, message: str) -> NoReturn:
        """Ends the attempt: the program and its journal do not fit."""
        self.halt = JournalMismatch(message)
        raise self.halt

    def leftover(self, path: str = "") -> None:
        """The scope `path` has come to its end: raises `JournalMismatch` when it holds calls that were not made."""
        unread = sorted(key for key in self._unread if key.startswith(path)) if path else sorted(self._unread)
        if unread:
            self.refuse(
                f"task {self.lease.task_id!r} does not follow its journal: it ended without the recorded step "
                f"{unread[0]!r}; put the old code back, or retry the task fresh"
            )

    def forget(self, path: str) -> None:
        """The scope `path` was cancelled by its own program: what it did not come to does not count."""
        self._unread = {key for key in self._unread if not key.startswith(path)}

    def patched(self, name: str) -> bool:
        """Whether the changed code runs: False only where the old code has already passed."""
        scope = self.check()
        key = f"@patched:{name}"
        if name not in self._patched:
            old = key not in self._entries and self.passed(scope)
            if not old and key not in self._entries:
                self._notes.append(Step(key, NOTE))
            self._patched[name] = not old
        return self._patched[name]

    def passed(self, scope: Scope) -> bool:
        """Whether an earlier attempt was beyond the place where the running code stands."""
        behind = max(self._held.get(scope.path, ()), default=NOTE) >= scope.next
        return behind or (scope.outer is not None and self.passed(scope.outer))

    # -- values --------------------------------------------------------------------------------------------

    async def value(self, step: Step, kind: Any = Any) -> Any:
        """What `step` recorded, as `kind`."""
        raw = await self.whole(bytes(step.value)) if step.value is not None else b"null"
        return decode(raw, kind)

    async def whole(self, raw: bytes) -> bytes:
        """`raw` with its parts that are stored apart."""
        return await large.whole(raw, self._blobs, self.lease.task_id)

    def note(self, key: str) -> Step | None:
        """What was noted under `key`."""
        return self._entries.get(key)

    # -- writing -------------------------------------------------------------------------------------------

    async def settle(
        self,
        place: Place,
        value: Any,
        *,
        notes: Mapping[str, Any] | None = None,
        wait: bool = True,
        early: bool = False,
        **along: Unpack[Along],
    ) -> Step:
        """Records that the call at `place` ended with `value`. `wait` False: without waiting until it is durable.
        `early`: with the next record (invariant 1)."""
        data, blobs = apart(encoded := encode(value, f"the value of step {place.key!r}"))
        if blobs:
            along["blobs"] = {**along.get("blobs", {}), **blobs}
        step = Step(place.key, place.position, value=msgspec.Raw(data))
        steps = (step, *(Step(name, NOTE, value=msgspec.Raw(encode(it, name))) for name, it in (notes or {}).items()))
        self._entries.update((each.key, each) for each in steps)
        if early:
            self._early.add((step,), along.get("blobs", {}))
            self.grew = True
        elif wait:
            try:
                await self.commit(place.scope, steps, **along)
            except BaseException:
                self._entries.pop(place.key, None)
                raise
        else:
            self._report(self._record(place.scope, steps, along))
        # The value itself is at hand: a reader need not fetch from the store what was just sent there.
        return msgspec.structs.replace(step, value=msgspec.Raw(encoded))

    async def commit(self, scope: Scope, steps: tuple[Step, ...], **along: Unpack[Along]) -> None:
        """Makes entries durable, with what must commit together with them. Raises `NotGranted` where a reservation has
        no room, and `Unread` where steering has come: then nothing is stored."""
        notes, failures, early, blobs = tuple(self._notes), tuple(scope.failures), self._early.steps, self._early.blobs
        record = self._record(scope, steps, along)
        try:
            answer = await self.services.recorder.put(record)
            if answer.refused is not None:
                raise NotGranted(answer.refused)
            if answer.answer is Answer.UNREAD:
                raise Unread
            if answer.answer is Answer.INVALID:
                raise InvalidInput(answer.detail or f"the store refused a step of task {self.lease.task_id!r}")
        except BaseException:
            # What was to ride along goes with the next record. Where this one was stored, that changes nothing.
            self._notes[:0], scope.failures[:0] = notes, failures
            self._early.add(early, blobs)
            raise
        self._blobs.sent(record.blobs)
        # A step that was begun is no progress: what fails in it each time must come to an end.
        self.grew = self.grew or any(step.state is not StepState.STARTED for step in record.steps)
        self.hear(answer)
        self.check()

    def _record(self, scope: Scope, steps: tuple[Step, ...], along: Along) -> Record:
        before = (*self._notes, *scope.failures, *self._early.steps)
        blobs = self._blobs.unsent({**self._early.blobs, **along.get("blobs", {})})
        self._notes.clear()
        scope.failures.clear()
        self._early.clear()
        self.inbox.consume(along.get("consumed", ()))
        for step in (*before, *steps):
            self._entries.setdefault(step.key, step)
        events = along.get("events", ())
        told = tuple((name, msgspec.Raw(encode(data, f"the event {name!r}"))) for name, data in events)
        return Record(
            self.lease.hold,
            (*before, *steps),
            consumed=along.get("consumed", ()),
            spawned=along.get("spawned", ()),
            events=told,
            blobs=blobs,
            settles=along.get("settles", ()),
            reserves=along.get("reserves", ()),
            read=along.get("read"),
        )

    def _hand_in(self) -> None:
        if self._early:
            self._report(self._record(Scope(self), (), {}))

    async def outlive(self, scope: Scope, *steps: Step) -> None:
        """The program goes on after failed steps and early values: records them, and `steps`."""
        if steps or scope.failures or self._early:
            await self.commit(scope, steps)

    async def suspend(self, scope: Scope, wait: Wait) -> NoReturn:
        """Leaves the task waiting in the store."""
        await self.outlive(scope, *told_before_wait(self, scope))
        scope.suspended = Suspended(wait)
        raise scope.suspended

    async def send(self, record: Record) -> None:
        """Sends what is not waited for: it goes along with the next record."""
        self._report(record)
        if len(self._unsettled) >= _MOST_UNSETTLED:
            await self.quiet()

    def _report(self, record: Record) -> None:
        future = self.services.recorder.put(record)
        self._unsettled.add(future)
        future.add_done_callback(self._reported)
        if record.steps:
            self.grew = True

    def _reported(self, future: asyncio.Future[Recorded]) -> None:
        self._unsettled.discard(future)
        if not future.cancelled() and future.exception() is None:
            self.hear(future.result())

    async def quiet(self) -> None:
        """Returns when nothing of this task is on its way to the store any more, early values included."""
        self._hand_in()
        while self._unsettled:
            await asyncio.wait(set(self._unsettled))

    # -- what the store says -------------------------------------------------------------------------------

    def hear(self, answer: Recorded) -> None:
        """Takes in what the store answered to a record."""
        if answer.answer in (Answer.STALE, Answer.ALREADY):
            self.halt = self.halt or LeaseLost(f"this worker does not hold task {self.lease.task_id!r} any more")
        elif answer.paused:
            self.pause()

    def pause(self) -> None:
        """Somebody paused the task: it stops at its next verb."""
        self.halt = self.halt or HandedBack()

    async def steering(self) -> tuple[Message, ...]:
        """The steering messages that were not consumed, in order, as the store has them now."""
        store, task_id = self.services.store, self.lease.task_id
        self.inbox.receive(await self.services.patience.ask(lambda: store.inbox(task_id), "inbox"))
        return self.inbox.steering()

    def now(self) -> Millis:
        """The engine's clock, as far as this worker knows it."""
        elapsed = int((time.monotonic() - self._began) * 1000)
        return self.lease.expires - self.services.lease + elapsed
