"""Random clients, workers, people and clocks: a state machine that drives the model, and an engine beside it.

After every request the answers are compared, and then everything that can be seen. The invariants of `invariants`
hold on the model at any time. In the end everybody does their duty, and everything must come to its end.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from tenuto.stores.base import Claim, Exchange, Store, TaskFilter, TimeToLive, WorkerInfo
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import Tree
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer, Ending, Outcome, Record
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import NULL, ErrorRecord, Kind, Task
from tests.conformance.engines import Engine
from tests.property import inputs, invariants, money
from tests.property.pair import Pair, Snapshot

__all__ = ["Lockstep"]


class Held(NamedTuple):
    """A lease that a worker once got, at the model and at the engine; it may be stale long since."""

    model: Lease
    engine: Lease


class Lockstep(RuleBasedStateMachine):
    """The model and `engine` (None: the model alone) through the same life."""

    def __init__(self, engine: Engine | None) -> None:
        super().__init__()
        self.pair = Pair(engine)
        self.sent: list[list[Tree]] = []
        self.held: list[Held] = []
        self.numbers: Counter[str] = Counter()
        self.incarnation = 0
        self.last: dict[str, tuple[Exchange, Exchange]] = {}
        self.marks: list[tuple[str, str]] = []
        self.accepted: Counter[tuple[str, int, int]] = Counter()
        self.seen: Snapshot = {}

    def teardown(self) -> None:
        try:
            self.everything_ends()
        finally:
            self.pair.close()

    # -- clients

    @initialize(batch=inputs.trees())
    def begin(self, batch: Any) -> None:
        self.pair.both(lambda store: store.submit(batch))

    @rule(batch=inputs.trees())
    def submit(self, batch: Any) -> None:
        self.sent.append(batch)
        self.pair.both(lambda store: store.submit(batch))

    @rule(data=st.data())
    def signal(self, data: st.DataObject) -> None:
        ids = [task.id for task in self.seen.get("tasks", ())] or ["nobody"]
        batch = data.draw(inputs.signals([*ids, "nobody"]))
        self.pair.both(lambda store: store.signal(batch))

    @precondition(lambda self: self.sent)
    @rule(number=st.integers(0, 40))
    def submit_again(self, number: int) -> None:
        """A client whose answer was lost sends a batch a second time."""
        batch = self.sent[-1 - number % len(self.sent)]
        self.pair.both(lambda store: store.submit(batch))

    @rule(data=st.data())
    def administer(self, data: st.DataObject) -> None:
        ask = data.draw(inputs.DECREES)
        self.pair.both(ask)

    @rule(after=st.booleans(), states=st.lists(st.sampled_from(sorted(FINAL)), max_size=2), limit=st.integers(1, 5))
    def purge(self, after: bool, states: list[State], limit: int) -> None:
        before = self.pair.clock.now + after
        self.pair.both(lambda store: store.purge(before, states, limit))

    @rule()
    def mark(self) -> None:
        """A reader of the feed stops here."""
        self.marks.append(
            (self.pair.run(_end(self.pair.model)), self.pair.run(_end(self.pair.store or self.pair.model)))
        )

    # -- workers

    @rule(
        worker=st.sampled_from(("w0", "w1", "w2")),
        agents=st.sampled_from((("read",), ("write",), inputs.AGENTS)),
        slots=st.integers(0, 6),
        lease=inputs.LEASES,
        data=st.data(),
    )
    def exchange(self, worker: str, agents: tuple[str, ...], slots: int, lease: int, data: st.DataObject) -> None:
        """Reports on some leases, also on ones that were lost long ago, and claims."""
        picked = data.draw(st.lists(st.integers(0, 40), max_size=3)) if self.held else []
        reports = [(self.held[-1 - number % len(self.held)], data.draw(outcomes())) for number in picked]
        name = f"{worker}-{self.incarnation}"
        self.numbers[name] += 1
        claim = Claim(agents, slots, lease) if slots else None
        requests = (
            Exchange(name, self.numbers[name], tuple(_of(held.model, report) for held, report in reports), claim),
            Exchange(name, self.numbers[name], tuple(_of(held.engine, report) for held, report in reports), claim),
        )
        self.last[name] = requests
        self._exchange(requests)

    def _exchange(self, requests: tuple[Exchange, Exchange]) -> None:
        ask, ask_engine = requests
        model, engine = self.pair.both(
            lambda store: store.commit_and_claim(ask), lambda store: store.commit_and_claim(ask_engine)
        )
        assert model is not None
        assert engine is not None
        self.held += [Held(*leases) for leases in zip(model.leases, engine.leases, strict=True)]
        for outcome, answer in zip(ask.outcomes, model.answers, strict=True):
            self.accepted[outcome.hold] += answer is Answer.ACCEPTED
            assert self.accepted[outcome.hold] <= 1, "one hold's report is accepted once"
        if ask.claim is not None:
            self.pair.run(invariants.claim_left_nothing_behind(self.pair.model, ask.claim, model))

    @precondition(lambda self: self.held)
    @rule(
        ending=st.sampled_from((Ending.DONE, Ending.DONE, Ending.FAILED, Ending.RETRY, Ending.RELEASE)),
        slots=st.integers(0, 3),
    )
    def work(self, ending: Ending, slots: int) -> None:
        """A worker that does what it should: it reports on its latest lease, and claims."""
        held = self.held[-1]
        name = f"w0-{self.incarnation}"
        self.numbers[name] += 1
        report = Outcome(held.model.hold, ending, NULL, ErrorRecord("ValueError", "boom"), delay=10)
        claim = Claim(inputs.AGENTS, slots, 1_000) if slots else None
        requests = (
            Exchange(name, self.numbers[name], (report,), claim),
            Exchange(name, self.numbers[name], (_of(held.engine, report),), claim),
        )
        self.last[name] = requests
        self._exchange(requests)

    @precondition(lambda self: self.last)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """The answer was lost: the worker asks again, and gets the same."""
        name = data.draw(st.sampled_from(sorted(self.last)))
        ask, ask_engine = self.last[name]
        first = self.pair.run(self.pair.model.commit_and_claim(ask))
        before = self.seen
        again, _ = self.pair.both(
            lambda store: store.commit_and_claim(ask), lambda store: store.commit_and_claim(ask_engine)
        )
        assert again == first
        assert self.pair.compare() == before

    @precondition(lambda self: self.held)
    @rule(
        number=st.integers(0, 40),
        steps=inputs.STEPS,
        events=inputs.EVENTS,
        children=st.lists(inputs.CHILDREN, max_size=2),
        consumed=st.lists(st.integers(1, 4), max_size=2).map(tuple),
        blobs=inputs.BLOBS,
        calls=st.one_of(st.just(((), ())), st.tuples(money.SETTLES, money.RESERVES)),
        read=st.none() | st.integers(0, 4),
        lease=inputs.LEASES,
    )
    def record(
        self,
        number: int,
        steps: Any,
        events: Any,
        children: Any,
        consumed: Any,
        blobs: Any,
        calls: Any,
        read: int | None,
        lease: int,
    ) -> None:
        held = self.held[-1 - number % len(self.held)]
        spawned = tuple(replace(child, id=f"{held.model.root}.{child.id}") for child in children)
        entry = Record(held.model.hold, steps, consumed, spawned, events, blobs, calls[0], calls[1], read)
        entry_of_engine = replace(entry, hold=held.engine.hold)
        answers, _ = self.pair.both(
            lambda store: store.record([entry], lease), lambda store: store.record([entry_of_engine], lease)
        )
        assert answers is not None
        invariants.has_read_all_steering(self.seen, entry, answers[0])

    @precondition(lambda self: self.held)
    @rule(number=st.integers(0, 40), settles=money.SETTLES, reserves=money.RESERVES, times=st.sampled_from((1, 1, 2)))
    def call(self, number: int, settles: Any, reserves: Any, times: int) -> None:
        """A worker settles what it has called, and reserves what it is about to call; twice if an answer was lost."""
        held = self.held[-1 - number % min(len(self.held), 3)]
        entry = Record(held.model.hold, settles=settles, reserves=reserves)
        entry_of_engine = replace(entry, hold=held.engine.hold)
        told = []
        for _ in range(times):
            answers, _ = self.pair.both(
                lambda store: store.record([entry], 1_000), lambda store: store.record([entry_of_engine], 1_000)
            )
            assert answers is not None
            told.append(answers[0])
            ledger = self.pair.run(self.pair.model.ledger(entry.hold.task_id))
            money.what_is_granted_is_set_aside(ledger, entry, answers[0])
        assert told[-1] == told[0] or told[0].answer is not Answer.ACCEPTED

    @rule(data=st.data(), settles=money.SETTLES)
    def reconcile(self, data: st.DataObject, settles: Any) -> None:
        """Somebody who holds nothing knows what calls did cost."""
        task_id = data.draw(st.sampled_from([task.id for task in self.seen.get("tasks", ())] or ["nobody"]))
        self.pair.both(lambda store: store.settle(task_id, settles))

    @rule(worker=st.sampled_from(("w0", "w1")), numbers=st.lists(st.integers(0, 40), max_size=3), lease=inputs.LEASES)
    def renew(self, worker: str, numbers: list[int], lease: int) -> None:
        picked = [self.held[-1 - number % len(self.held)] for number in numbers if self.held]
        info = WorkerInfo(worker, inputs.AGENTS, slots=4, busy=len(picked))
        self.pair.both(
            lambda store: store.renew(info, [held.model.hold for held in picked], lease),
            lambda store: store.renew(info, [held.engine.hold for held in picked], lease),
        )

    # -- time, and accidents

    @rule(span=inputs.SPANS)
    def time_passes(self, span: int) -> None:
        self.pair.clock.move(span)

    @rule(span=inputs.SPANS, limit=st.sampled_from((1, 3, 100)), ttl=inputs.TTLS)
    def sweep(self, span: int, limit: int, ttl: TimeToLive) -> None:
        self.pair.clock.move(span)
        self.pair.both(lambda store: store.sweep(limit, ttl))

    @precondition(lambda self: self.pair.store is not None)
    @rule(crash=st.booleans())
    def restart(self, crash: bool) -> None:
        """The process of the store ends; its workers start again under new names, the old leases live on."""
        self.pair.restart(crash=crash)
        self.incarnation += 1
        self.last.clear()

    # -- what must hold

    @invariant()
    def looks_the_same_and_is_sound(self) -> None:
        self.seen = self.pair.compare()
        invariants.check(self.seen, self.pair.clock.now)

    def everything_ends(self) -> None:
        """Everybody does their duty from now on: readers read on, people answer, workers work, operators help."""
        for model, engine in self.marks:
            self.pair.both(lambda store, at=model: _rest(store, at), lambda store, at=engine: _rest(store, at))  # type: ignore[misc]  # bound now
        for where in (
            TaskFilter(owner="ann"),
            TaskFilter(tag="x", states=(State.READY, State.DONE)),
            TaskFilter(root="g0"),
        ):
            self.pair.both(lambda store, where=where: _pages(store, where))  # type: ignore[misc]  # bound now
        for name in ("often", "daily"):
            self.pair.both(lambda store, name=name: store.delete_schedule(name))  # type: ignore[misc]  # bound now
        left: list[Task] = []
        for turn in range(60):
            left = [task for task in self.pair.compare()["tasks"] if not task.is_final]
            if not left:
                return
            if turn == 10:  # what a schedule caught up may be more than its limits let through by now
                for key in inputs.KEYS:
                    self.pair.both(lambda store, key=key: store.drop_limit(key))  # type: ignore[misc]  # bound now
            self._help(left, patient=turn < 20)
        raise AssertionError(f"these never end: {left}")

    def _help(self, tasks: list[Task], *, patient: bool) -> None:
        batch = [Signal(task.id, SignalKind.RESUME) for task in tasks if task.paused]
        for task in tasks:
            if task.wait is not None:
                batch += [
                    Signal(task.id, SignalKind.EVENT, topic=topic)
                    for topic in task.wait.on
                    if not topic.startswith("task:")
                ]
                if not patient and _waits_in_a_circle(task, tasks):
                    batch.append(Signal(task.id, SignalKind.CANCEL))
        self.pair.both(lambda store: store.signal(batch))
        self.pair.clock.move(30_000)
        self.pair.both(lambda store: store.sweep(1_000, TimeToLive()))
        self.numbers["last"] += 1
        claim = Claim(inputs.AGENTS, 100, 1_000)
        first = len(self.held)
        self._exchange((Exchange("last", self.numbers["last"], (), claim),) * 2)
        self.numbers["last"] += 1
        done = [(held.model, held.engine) for held in self.held[first:]]
        self._exchange(
            (
                Exchange(
                    "last", self.numbers["last"], tuple(Outcome(each.hold, Ending.DONE, NULL) for each, _ in done)
                ),
                Exchange(
                    "last", self.numbers["last"], tuple(Outcome(each.hold, Ending.DONE, NULL) for _, each in done)
                ),
            )
        )


def _waits_in_a_circle(task: Task, tasks: list[Task]) -> bool:
    """Whether `task` waits for tasks that wait, in the end, for itself: nobody can help it but by cancelling it."""
    by_id = {each.id: each for each in tasks}
    reached, ahead = set[str](), [task.id]
    while ahead:
        at = by_id.get(ahead.pop())
        if at is None:
            continue
        needs = [topic.removeprefix("task:") for topic in at.wait.on] if at.wait is not None else []
        if at.kind is Kind.GOAL:
            needs = [each.id for each in tasks if each.parent == at.id]
        if at.state is State.BLOCKED:
            needs = [each.id for each in tasks if each.parent == at.parent and each.id != at.id]
        for need in needs:
            if need == task.id:
                return True
            if need not in reached:
                reached.add(need)
                ahead.append(need)
    return False


@st.composite
def outcomes(draw: st.DrawFn) -> Outcome:
    """How an attempt ended, for whatever hold; sometimes without sense."""
    ending = draw(st.sampled_from((*Ending, Ending.DONE)))
    whole = draw(st.integers(0, 9)) > 0
    return Outcome(
        hold=None,  # type: ignore[arg-type]  # filled in by `_of`
        ending=ending,
        result=NULL if ending is Ending.DONE and whole else None,
        error=draw(inputs.ERRORS) if ending in (Ending.FAILED, Ending.RETRY) and whole else None,
        delay=draw(st.integers(0, 3_000)) if ending is Ending.RETRY else 0,
        excused=draw(st.booleans()),
        wait=draw(inputs.WAITS) if ending is Ending.WAIT and whole else None,
        pause=draw(st.sampled_from((None, "by itself"))) if ending is Ending.RELEASE else None,
        consumed=draw(st.lists(st.integers(1, 4), max_size=2).map(tuple)),
        blobs=draw(inputs.BLOBS),
    )


def _of(lease: Lease, outcome: Outcome) -> Outcome:
    return replace(outcome, hold=lease.hold)


async def _end(store: Store) -> str:
    return (await store.events("now")).cursor


async def _rest(store: Store, cursor: str) -> list[Any]:
    """The feed behind `cursor`, page by page, and parts of it."""
    found: list[Any] = []
    filters: list[dict[str, Any]] = [
        {},
        {"owner": "ann"},
        {"root": "g0"},
        {"task_id": "t0"},
        {"kinds": [EventKind.DONE]},
    ]
    for where in filters:
        at = cursor
        while True:
            page = await store.events(at, limit=3, **where)
            found += page.events
            at = page.cursor
            if not page.events:
                break
    return found


async def _pages(store: Store, where: TaskFilter) -> list[list[str]]:
    pages, cursor = [], None
    while True:
        page = await store.tasks(where, cursor, 2)
        pages.append([task.id for task in page.tasks])
        cursor = page.cursor
        if cursor is None:
            return pages
