"""Many at once: clients, workers, people and sweepers over one engine, through one store or two, and nothing is lost.

The order of what happens is nobody's, so there is no model to compare with; what must hold at any time must hold in
the end, and everything must come to its end.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from pathlib import Path

import pytest

from tenuto.stores.base import Store, TimeToLive
from tenuto.tasks.goal import Edge, Tree, When
from tenuto.tasks.lease import Lease
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Step
from tenuto.tasks.signal import Signal, SignalKind
from tenuto.tasks.states import State
from tenuto.tasks.task import TaskSpec
from tenuto.tasks.waits import event_topic, task_topic
from tests.conformance.engines import ENGINES, Engine
from tests.conformance.stage import Stage, VirtualClock, Worker, raw, spec
from tests.property import invariants
from tests.property.pair import look

TREES = int(os.environ.get("TENUTO_CROWD_TREES", "40"))
SEED = int(os.environ.get("TENUTO_CROWD_SEED", str(random.randrange(10**6))))

pytestmark = pytest.mark.timeout(600)


class Crowd:
    """Everybody at one place."""

    def __init__(self, stage: Stage, stores: list[Store], chance: random.Random) -> None:
        self.stage, self.stores, self.chance = stage, stores, chance
        self.accepted: Counter[tuple[str, int, int]] = Counter()
        self.left = TREES
        self.over = False

    def store(self) -> Store:
        return self.chance.choice(self.stores)

    async def client(self) -> None:
        while self.left > 0:
            self.left -= 1
            name, limits = f"x{self.left}", tuple(self.chance.sample(("db", "api"), self.chance.randrange(3)))
            owner = self.chance.choice(("ann", "bob"))
            if self.chance.random() < 0.5:
                tree = Tree(spec(name, owner=owner, limits=limits, priority=self.chance.randrange(3)))
            else:
                nodes = tuple(spec(f"{name}-{node}", owner=owner, limits=limits) for node in "abc")
                when = self.chance.choice(list(When))
                edges = (Edge(nodes[0].id, nodes[1].id, when), Edge(nodes[1].id, nodes[2].id))
                tree = Tree(TaskSpec(id=name), nodes, edges)
            await asyncio.gather(*(self.store().submit([tree]) for _ in range(self.chance.randrange(1, 3))))

    async def worker(self) -> None:
        worker = self.stage.worker(store=self.store())
        while not self.over:
            leases = await worker.claim(self.chance.randrange(1, 4), lease=50)
            await asyncio.sleep(0 if leases else 0.001)
            for lease in leases:
                await self.life(worker, lease)

    async def life(self, worker: Worker, lease: Lease) -> None:
        """One attempt, as it may go."""
        luck = self.chance.random()
        if luck < 0.15:
            return  # the worker forgets it
        if luck < 0.4:
            child = spec(f"{lease.root}.{lease.task_id[-3:]}{lease.attempt}", agent="echo")
            await worker.record(lease, Step(f"s{lease.attempt}", 0, value=raw(1)), spawned=(child,))
            if luck < 0.3 and lease.parent is None:
                answer = await worker.wait(lease, task_topic(child.id), event_topic("go"), need=1)
                self.accepted[lease.hold] += answer is Answer.ACCEPTED
                return
        ending = self.chance.choice(("done", "done", "done", "fail", "retry", "release"))
        reports = await asyncio.gather(
            *(getattr(self.stage.worker(store=self.store()), ending)(lease) for _ in range(self.chance.randrange(1, 3)))
        )
        self.accepted[lease.hold] += reports.count(Answer.ACCEPTED)

    async def person(self) -> None:
        kinds = [kind for kind in SignalKind if kind not in (SignalKind.RETRY, SignalKind.PAUSE)]
        while not self.over:
            kind = self.chance.choice(kinds)
            task_id = f"x{self.chance.randrange(TREES)}"
            await self.store().signal([Signal(task_id, kind, event_topic("go"), self.chance.randrange(5))])
            await asyncio.sleep(0.002)

    async def sweeper(self) -> None:
        while not self.over:
            self.stage.clock.move(self.chance.randrange(40))
            await self.store().sweep(self.chance.choice((1, 100)), TimeToLive())
            await asyncio.sleep(0.001)

    async def play(self) -> None:
        others = [asyncio.create_task(each) for each in (self.sweeper(), self.sweeper(), self.person())]
        workers = [asyncio.create_task(self.worker()) for _ in range(4)]
        try:
            await asyncio.gather(*(self.client() for _ in range(3)))
            async with asyncio.timeout(400):
                while True:
                    if not await self.unfinished():
                        break
                    await asyncio.sleep(0.01)  # the others work
        finally:
            self.over = True
            await asyncio.gather(*others, *workers)

    async def unfinished(self) -> int:
        stats = await self.stage.store.stats()
        return sum(stats[state] for state in State if state not in (State.DONE, State.FAILED, State.CANCELLED))


@pytest.mark.parametrize("stores", [1, 2])
@pytest.mark.parametrize("engine", ENGINES.values(), ids=lambda each: each.name)
async def test_in_a_crowd_nothing_is_lost_or_done_twice(engine: Engine, stores: int, tmp_path: Path) -> None:
    print(f"TENUTO_CROWD_SEED={SEED}")
    clock = VirtualClock()
    opened = [engine.make(tmp_path, clock) for _ in range(stores if engine.durable else 1)]
    for store in opened:
        await store.open()
    try:
        stage = Stage(opened[0], clock)
        await stage.store.put_limit(Limit("db", concurrency=2))
        await stage.store.put_limit(Limit("api", rate=50, period=1_000, burst=3))
        crowd = Crowd(stage, opened, random.Random(SEED))
        await crowd.play()
        clock.move(60_000)
        await stage.sweep()
        seen = await look(stage.store)
        invariants.check(seen, clock.now)
        assert max(crowd.accepted.values()) == 1, "each hold's report is accepted once"
        assert {use.limit.key: (use.used, use.parked) for use in seen["limits"]} == {"api": (0, 0), "db": (0, 0)}
        assert len([task for task in seen["tasks"] if task.id == task.root]) == TREES
        assert State.DONE in {task.state for task in seen["tasks"]}
    finally:
        for store in opened:
            await store.close()
