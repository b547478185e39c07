"""Random DAGs with failures, edges of all kinds, and goals that are retried when they have failed.

How each node must end is worked out here a second time, from the words of `tasks.goal` and not from its code.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field

from tenuto.errors import Conflict
from tenuto.plans import GoalBuilder, goal
from tenuto.tasks.event import EventKind
from tenuto.tasks.goal import When
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Kind
from tests.chaos.agents import node_agent
from tests.chaos.evidence import Evidence
from tests.chaos.variants.base import Desk, Size

__all__ = ["Goals"]

_PAUSE = 0.03
_NODES = 8
_MOODS = ("ok",) * 7 + ("fail-once", "fail-once", "fail", "flaky", "flaky")
_WHENS = (When.DONE,) * 4 + (When.FAILED, When.FINISHED)
_MET = {
    State.DONE: {When.DONE, When.FINISHED},
    State.FAILED: {When.FAILED, When.FINISHED},
    State.CANCELLED: {When.FINISHED},
}


@dataclass
class _Plan:
    """A goal: nodes 0 to n-1, edges from lower to higher numbers only."""

    id: str
    moods: list[str]
    edges: list[tuple[int, int, When]]
    states: list[State] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    run: int = 1

    def build(self) -> GoalBuilder:
        builder = goal(id=self.id, title=self.id)
        for number, mood in enumerate(self.moods):
            fails = mood in ("fail", "fail-once")
            task = node_agent.create_task(
                payload={"mood": mood, "pause": _PAUSE},
                retry=RetryPolicy(max_retries=0 if fails else 100, base=20, longest=100),
            )
            builder.add(task, id=f"n{number}")
        for source, target, when in self.edges:
            builder.connect(f"n{source}", f"n{target}", when)
        return builder

    def play(self) -> State:
        """Works out how everything ends, with one retry of the goal; its final state."""
        count = len(self.moods)
        self.runs = [1] * count
        self.states = [State.BLOCKED] * count
        self._settle(set(range(count)))
        if self._unhandled():
            revived = self._revived()
            self.run = 2
            for number in revived:
                self.runs[number] += 1
            self._settle(revived)
        return State.FAILED if self._unhandled() else State.DONE

    def _into(self, number: int) -> list[tuple[int, When]]:
        return [(source, when) for source, target, when in self.edges if target == number]

    def _settle(self, open_nodes: set[int]) -> None:
        for number in sorted(open_nodes):
            met = all(when in _MET[self.states[source]] for source, when in self._into(number))
            fails = self.moods[number] == "fail" or (self.moods[number] == "fail-once" and self.runs[number] == 1)
            self.states[number] = State.CANCELLED if not met else State.FAILED if fails else State.DONE

    def _unhandled(self) -> set[int]:
        handled = {
            source
            for source, target, when in self.edges
            if self.states[target] is State.DONE and when in (When.FAILED, When.FINISHED)
        }
        return {number for number, state in enumerate(self.states) if state is State.FAILED} - handled

    def _revived(self) -> set[int]:
        begin, revived = self._unhandled(), set[int]()
        for number, state in enumerate(self.states):
            if number not in begin and state is not State.CANCELLED:
                continue
            if all(source in revived or when in _MET[self.states[source]] for source, when in self._into(number)):
                revived.add(number)
        return revived


def _plans(size: Size) -> list[_Plan]:
    rng = random.Random(f"{size.seed}/goals")
    plans = []
    for number in range(_count(size)):
        count = rng.randint(2, 2 * _NODES - 2)
        moods = [rng.choice(_MOODS) for _ in range(count)]
        edges = [
            (source, target, rng.choice(_WHENS))
            for target in range(1, count)
            for source in rng.sample(range(target), min(target, rng.randint(0, 3)))
        ]
        plans.append(_Plan(f"goal-{number}", moods, edges))
    return plans


def _count(size: Size) -> int:
    return max(1, size.tasks // _NODES)


class Goals:
    """Goals that fail and are retried once."""

    name = "goals"
    sql = False
    sweepers = 0

    def scaled(self, tasks: int) -> int:
        return max(40, tasks // 3)

    def executions(self, size: Size) -> int:
        return size.tasks * 3 // 2

    def submissions(self, size: Size) -> int:
        return _count(size)

    async def submit(self, desk: Desk) -> None:
        for number, plan in enumerate(_plans(desk.size)):
            goal_id = await desk.client.submit_goal(plan.build())
            desk.note([number, goal_id])

    async def drive(self, desk: Desk) -> None:
        """Retries each failed goal once: its run tells whether that was done before a kill."""
        waiting = {plan.id for plan in _plans(desk.size)}
        while waiting:
            tasks = await desk.client.store.tasks_by_id(sorted(waiting))
            for task in tasks.values():
                if task.state is State.FAILED and task.run == 1:
                    try:
                        await desk.client.retry_goal(task.id)
                    except Conflict as error:
                        desk.note({"goal": task.id, "conflict": str(error)})
                elif task.state in FINAL:
                    waiting.discard(task.id)
            await asyncio.sleep(0.1)

    def check(self, evidence: Evidence, size: Size) -> None:
        for note in evidence.notes("drive"):
            evidence.complain(f"{note['goal']} could not be retried: {note['conflict']}")
        plans = _plans(size)
        stored = [task for task in evidence.tasks.values() if task.kind is Kind.GOAL]
        if len(stored) != len(plans):
            evidence.complain(f"{len(plans)} goals were submitted, and the store has {len(stored)}")
        vanished = {evidence.tasks[task_id].parent for task_id in evidence.vanished()}
        for plan in plans:
            if plan.id not in vanished:  # a node that failed for another reason than those of the plan
                self._check_goal(evidence, plan)

    def _check_goal(self, evidence: Evidence, plan: _Plan) -> None:
        outcome = plan.play()
        root = evidence.tasks.get(plan.id)
        if root is None:
            evidence.complain(f"{plan.id} is not in the store")
            return
        if root.state is not outcome or root.run != plan.run:
            evidence.complain(f"{plan.id} is {root.state} in run {root.run}; expected {outcome} in run {plan.run}")
        nodes = {task.node: task for task in evidence.tasks.values() if task.parent == plan.id}
        for number, state in enumerate(plan.states):
            node = nodes.get(f"n{number}")
            if node is None:
                evidence.complain(f"{plan.id}: node n{number} is not in the store")
            elif node.state is not state or node.run != plan.runs[number]:
                expected = f"{state} in run {plan.runs[number]}"
                evidence.complain(f"{node.id} is {node.state} in run {node.run}; expected {expected}: {node.reason}")
        self._check_order(evidence, plan, {node.id: name for name, node in nodes.items() if name})

    def _check_order(self, evidence: Evidence, plan: _Plan, names: dict[str, str]) -> None:
        """No node may start while an edge into it is open."""
        sources: dict[str, set[str]] = {}
        for source, target, _ in plan.edges:
            sources.setdefault(f"n{target}", set()).add(f"n{source}")
        ended: set[str] = set()
        for event in evidence.events:
            name = names.get(event.task_id)
            if name is None:
                continue
            if event.kind in (EventKind.DONE, EventKind.FAILED, EventKind.CANCELLED):
                ended.add(name)
            elif event.kind is EventKind.RETRIED:
                ended.discard(name)
            elif event.kind is EventKind.STARTED and not sources.get(name, set()) <= ended:
                evidence.complain(f"{event.task_id} started before {sorted(sources[name] - ended)} had ended")
