"""The storm: workers and clients run, the plan's blows fall on them, until all work is done; then the checks.

Blows are due by progress (`plan`); those on the server and the network are struck by the `place`. A frozen process
goes on after its leases have ended. What was killed is started again at once, so there are always as many processes as
before. The storm itself only looks: at the ledgers to count progress, and at the store to see whether all is done and
whether a limit was ever used above its size.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tenuto.client import Client
from tenuto.stores.base import TaskFilter
from tenuto.tasks.states import ACTIVE, State
from tenuto.tasks.task import Kind
from tests.chaos.checks import check_all
from tests.chaos.evidence import Evidence, gather
from tests.chaos.ledger import count_lines
from tests.chaos.places import Place
from tests.chaos.plan import Action, Blow, StormPlan, plan_storm
from tests.chaos.processes import Child, Children
from tests.chaos.variants.base import Size, Variant

__all__ = ["Report", "Settings", "run_storm"]

_TICK = 0.02
_MOST_DEATHS = 8
"""Processes that ended by themselves; more, and the storm is given up."""
_YOUNG = 5.0
"""Seconds for which a process may not have begun to listen to SIGTERM."""
_LOOK = 0.25
"""Seconds between two looks at the store."""
_CLOCKS = (0, 26 * 3600, -26 * 3600)
"""Seconds by which the wall clocks of the workers are ahead, where the engine has a clock of its own."""


@dataclass(frozen=True)
class Settings:
    """How a storm is run."""

    size: Size
    workers: int
    seconds: float
    """it is a violation when not everything is done after so long"""
    lease: float
    """seconds"""
    blows: int
    stubborn: int = 2
    faults: tuple[Blow, ...] = ()
    """of the server and the network"""
    times: int = 1
    """that each of them comes"""


@dataclass
class Report:
    """What came of it."""

    variant: str
    plan: StormPlan
    seconds: float = 0.0
    blows: Counter[Blow] = field(default_factory=Counter)
    submitter_kills: int = 0
    processes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


Progress = Callable[[int, int, str], None]
"""Called with executions, the expected number of them, and a few words."""


async def run_storm(variant: Variant, settings: Settings, place: Place, folder: Path, progress: Progress) -> Report:
    """Runs one variant on a new store at `place`; notes and logs are in `folder`, which must not exist yet."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    slots = settings.workers + variant.sweepers
    place.begin(folder.name, slots + 1)
    plan = plan_storm(
        settings.size.seed,
        executions=variant.executions(settings.size),
        submissions=variant.submissions(settings.size),
        slots=slots,
        blows=settings.blows,
        stubborn=settings.stubborn,
        driver=max(1, settings.blows // 6),
        faults=settings.faults,
        times=settings.times,
    )
    report = Report(f"{variant.name} on {place.name}", plan)
    began = time.monotonic()
    with Children(folder) as children:
        storm = _Storm(variant, settings, place, folder, children, report)
        await storm.rage(progress)
        report.processes = children.started
    report.seconds = time.monotonic() - began
    return report


class _Storm:
    def __init__(
        self, variant: Variant, settings: Settings, place: Place, folder: Path, children: Children, report: Report
    ) -> None:
        self.variant, self.settings, self.place, self.folder = variant, settings, place, folder
        self.clients_url = place.url_of(settings.workers + variant.sweepers)
        self.children, self.report = children, report
        self.executions = count_lines(folder / "ledger")
        self.submitted = count_lines(folder / "submit")
        self.waiting = list(report.plan.actions)
        self.submitter_kills = list(report.plan.submitter_kills)
        self.slots = [self._worker(slot) for slot in range(settings.workers + variant.sweepers)]
        self.stubborn: list[Child] = []
        self.submitter = self._client("submit")
        self.driver = self._client("drive")
        self.deaths = self.revived = 0
        self.readers = 0
        self.reader = self._reader()
        self.client = Client(place.url)

    # -- processes

    def _worker(self, slot: int) -> Child:
        """Half of the workers are what people start, the other half takes notes of what the store answers."""
        url = self.place.url_of(slot)
        if slot >= self.settings.workers:
            return self.children.start(f"sweeper-{slot}", "tests.chaos.sweeper", "--store", url)
        given = ("--store", url, "--lease", f"{self.settings.lease:g}")
        ahead = _CLOCKS[slot % len(_CLOCKS)] if self.settings.faults else 0
        if slot % 2:
            command = ("worker", "--agents", "tests.chaos.agents", "--concurrency", "8", "--grace", "2", *given)
            return self.children.start(f"worker-{slot}", "tenuto", *command, clock=ahead)
        return self.children.start(f"worker-{slot}", "tests.chaos.worker", *given, clock=ahead)

    def _client(self, role: str) -> Child:
        size = self.settings.size
        given = ("--variant", self.variant.name, "--store", self.clients_url, "--seed", f"{size.seed}")
        counts = ("--tasks", f"{size.tasks}", "--steps", f"{size.steps}")
        return self.children.start(role, "tests.chaos.client", role, *given, *counts)

    def _reader(self, *more: str) -> Child:
        self.readers += 1
        return self.children.start(
            "reader", "tests.chaos.reader", "--store", self.clients_url, "--number", f"{self.readers}", *more
        )

    # -- the course of it

    async def rage(self, progress: Progress) -> None:
        expected = self.variant.executions(self.settings.size)
        deadline = time.monotonic() + self.settings.seconds
        look_at = 0.0
        async with self.client:
            while True:
                executions = self.executions()
                await self._blow(executions)
                await self.place.mind()
                self._mind_the_living()
                if time.monotonic() >= look_at:
                    look_at = time.monotonic() + _LOOK
                    progress(executions, expected, self._words())
                    if self.place.whole and await self._look():
                        break
                    if time.monotonic() >= deadline or self.deaths >= _MOST_DEATHS:
                        await self.place.mind(all_of_it=True)
                        await self._explain()
                        break
                await asyncio.sleep(_TICK)
            progress(executions, expected, "checking")
            await self._calm()
            evidence = await gather(self.client, self.folder, self.place.url)
            self.report.counts = check_all(evidence)
            self.variant.check(evidence, self.settings.size)
            self.report.violations += evidence.violations
            self._count(evidence)

    async def _blow(self, executions: int) -> None:
        while self.waiting and self.waiting[0].after <= executions:
            action = self.waiting.pop(0)
            if action.blow in self.place.faults:
                await self.place.strike(action, action.leases * self.settings.lease)
            else:
                self._strike(action)
            self.report.blows[action.blow] += 1
        if self.submitter_kills and self.submitter.exit_code is None and self.submitted() >= self.submitter_kills[0]:
            self.submitter_kills.pop(0)
            self.submitter.kill()
            self.submitter = self._client("submit")
            self.report.submitter_kills += 1

    def _strike(self, action: Action) -> None:
        match action.blow:
            case Blow.KILL:
                slot = self._awake(action.slot)
                self.slots[slot].kill()
                self.slots[slot] = self._worker(slot)
            case Blow.FREEZE:
                self.slots[action.slot].freeze(action.leases * self.settings.lease)
            case Blow.CUT_READER:
                self.reader.kill()
                self.reader = self._reader()
            case Blow.KILL_DRIVER if self.driver.exit_code is None:
                self.driver.kill()
                self.driver = self._client("drive")
            case Blow.STUBBORN:
                given = ("--store", self.clients_url, "--lease", f"{self.settings.lease:g}")
                self.stubborn.append(self.children.start("stubborn", "tests.chaos.stubborn", *given))

    def _awake(self, slot: int) -> int:
        """`slot`, or the next one that is not frozen: what the frozen ones do afterwards is what is looked for."""
        order = [(slot + step) % len(self.slots) for step in range(len(self.slots))]
        return next((each for each in order if self.slots[each].thaw_at is None), slot)

    def _mind_the_living(self) -> None:
        """Frozen ones go on when their time is over. One that ended by itself is a violation, and is replaced."""
        now = time.monotonic()
        for slot, child in enumerate(self.slots):
            if child.thaw_at is not None and now >= child.thaw_at:
                child.thaw()
            if child.exit_code is not None:
                self._died(child)
                self.slots[slot] = self._worker(slot)
        if self.reader.exit_code is not None:
            self._died(self.reader)
            self.reader = self._reader()

    def _died(self, child: Child) -> None:
        self.deaths += 1
        tail = child.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        self.report.violations.append(f"{child.name} ended by itself with {child.exit_code}: {' '.join(tail)}")

    async def _look(self) -> bool:
        """Whether all is done. Notes limits that are used above their size."""
        for use in await self.client.limits():
            if use.limit.concurrency is not None and use.used > use.limit.concurrency:
                self.report.violations.append(f"{use.limit.key!r} was used {use.used} times, above {use.limit}")
        frozen = any(child.thaw_at is not None for child in self.slots)
        if self.submitter.exit_code is not None and self.submitter_kills:
            self.submitter_kills.clear()  # it was faster than the blows
        if self.submitter.exit_code is None or self.driver.exit_code is None or frozen:
            return False
        await self._revive()
        page = await self.client.store.tasks(TaskFilter(states=tuple(ACTIVE)), limit=1)
        # A cancelled task keeps its slots until its worker lets go: that is awaited, too.
        return not page.tasks and not any(use.used for use in await self.client.limits())

    async def _revive(self) -> None:
        """Retries what failed because it lost five workers: that is promised, and the storm's doing."""
        where = TaskFilter(states=(State.FAILED,), kind=Kind.TASK, roots_only=True)
        for task in (await self.client.store.tasks(where, limit=100)).tasks:
            if task.error is not None and task.error.type == "LeaseLost":
                await self.client.retry_task(task.id)
                self.revived += 1

    async def _explain(self) -> None:
        """It has gone on for too long, or too many have died: says what hangs."""
        self.report.violations.append(f"given up after at most {self.settings.seconds:g} seconds, with work left")
        page = await self.client.store.tasks(TaskFilter(states=tuple(ACTIVE)), limit=5)
        for task in page.tasks:
            why = await self.client.why(task.id)
            self.report.violations.append(f"{task.id} is {task.state}: {'; '.join(why.because)}")

    async def _calm(self) -> None:
        """Ends everything in good order; a last reader reads to the end."""
        for child in (self.submitter, self.driver):
            if child.exit_code not in (0, None):
                self._died(child)
        for child in self.slots:
            child.thaw()
        for child in self.slots[: self.settings.workers]:
            allowed = (0, -signal.SIGTERM) if child.age < _YOUNG else (0,)
            code = await asyncio.to_thread(child.end, 60.0)
            if code not in allowed:
                self.report.violations.append(f"{child.name} did not end in good order at SIGTERM: {code}")
        self.reader.kill()
        last = self._reader("--to-end")
        await _until(lambda: last.exit_code is not None, 60.0)
        if last.exit_code != 0:
            self._died(last)
        await _until(lambda: all(child.exit_code is not None for child in self.stubborn), 60.0)
        for child in self.stubborn:
            if child.exit_code != 0:
                self._died(child)

    def _count(self, evidence: Evidence) -> None:
        if self.report.plan.actions and self.waiting:
            self.report.counts["blows that came too late"] = len(self.waiting)
        if self.revived:
            self.report.counts["retried, having lost five workers"] = self.revived
        self.report.counts["tasks"] = len(evidence.tasks)

    def _words(self) -> str:
        frozen = sum(child.thaw_at is not None for child in self.slots)
        kills = self.report.blows[Blow.KILL] + self.report.submitter_kills
        words = f"{kills} kills, {self.report.blows[Blow.FREEZE]} freezes, {frozen} frozen now"
        return f"{words}, {self.place.blows} on server and network" if self.settings.faults else words


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    """Waits for `condition`, at most so long; whoever calls looks what came of it."""
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:  # noqa: ASYNC110  # processes set no event
        await asyncio.sleep(_TICK)
