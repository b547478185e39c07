"""What `tenuto run` does: a plan submitted, worked on by this program, watched to its end."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.text import Text

from tenuto.cli.documents import goal_document
from tenuto.cli.errors import ExitCode
from tenuto.cli.graph import detail, draw_goal
from tenuto.cli.live import Watched, watch_goal
from tenuto.cli.options import Format
from tenuto.cli.output import console, plain, print_json, remark, width_of, writes_unicode
from tenuto.cli.parsing import json_value
from tenuto.cli.times import relative
from tenuto.errors import InvalidInput
from tenuto.plans import GoalBuilder, read_plan
from tenuto.tasks.blobs import digest
from tenuto.tasks.clock import wall_clock
from tenuto.tasks.goal import Goal
from tenuto.tasks.outcome import StepState
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.workers.config import WorkerConfig
from tenuto.workers.worker import Worker

if TYPE_CHECKING:
    from tenuto.client import Client
    from tenuto.workers.handler import Handler

__all__ = ["PlanRun", "exit_code_for", "plan_of", "work_on"]

_LONGEST_PICTURE = 60
"""Lines."""


def plan_of(dag: str, goal_id: str | None) -> GoalBuilder:
    """The goal of the plan file `dag` (`-`: standard input), under `goal_id` where one is given.

    A plan without an id gets one from its content, so that the same plan started again is the same goal.
    """
    if dag != "-":
        plan = read_plan(dag)
        content = msgspec.json.decode(Path(dag).read_bytes())
    else:
        content = json_value("-", "--dag")
        if not isinstance(content, dict):
            raise InvalidInput("--dag: standard input must hold a JSON object with tasks")
        plan = read_plan(content)
    if goal_id is None:
        if content.get("id") is not None:
            return plan
        goal_id = f"plan-{digest(msgspec.json.encode(content, order='deterministic'))[:12]}"
    return read_plan(content | {"id": goal_id})


@dataclass(frozen=True)
class PlanRun:
    """A run of a plan."""

    plan: GoalBuilder
    agents: Sequence[Handler]
    config: WorkerConfig
    retry: bool
    quiet: bool
    format: Format

    async def run(self, client: Client) -> ExitCode:
        """Runs the plan to its end and writes the outcome."""
        goal_id = self.plan.id
        before = await client.store.goal(goal_id)
        await client.submit_goal(self.plan)
        if before is not None:
            self._greet(before)
            if before.task.is_final:
                if before.task.state is State.DONE or not self.retry:
                    return await self._outcome(client, Watched(before, None))
                await client.retry_goal(goal_id)
        watched = await work_on(client, goal_id, self.agents, self.config, quiet=self.quiet)
        return await self._outcome(client, watched)

    def check_agents(self) -> None:
        """Raises `InvalidInput` when a task of the plan is for an agent that is not here."""
        served = {agent.name for agent in self.agents}
        for node in self.plan.tree().nodes:
            if node.agent not in served:
                raise InvalidInput(
                    f"the plan's task {node.id!r} is for the agent {node.agent!r}, which --agents does not bring: "
                    f"it brings {', '.join(sorted(served))}"
                )

    def _greet(self, goal: Goal) -> None:
        done = sum(task.state is State.DONE for task in goal.nodes)
        if not goal.task.is_final:
            remark(f"Going on with goal {goal.task.id}: {done} of {len(goal.nodes)} tasks are done already.")
            return
        when = relative(goal.task.finished_at, wall_clock())
        if goal.task.state is State.DONE:
            advice = "give --id NAME to run it once more"
        elif self.retry:
            advice = f"going on from there, {done} of {len(goal.nodes)} tasks are done"
        else:
            advice = "add --retry to go on from there"
        how = "failed" if goal.task.state is State.FAILED else f"was {goal.task.state.value}"
        remark(f"Goal {goal.task.id} {how} already, {when}: {advice}.")

    async def _outcome(self, client: Client, watched: Watched) -> ExitCode:
        goal, holding = watched
        if self.format is Format.JSON:
            results: dict[str, Any] = await client.results_of(goal.task.id)
            print_json(goal_document(goal) | {"results": results})
        else:
            _print_outcome(goal)
        if holding is not None:
            remark(await _advice(client, holding))
        return exit_code_for(goal)


def _print_outcome(goal: Goal) -> None:
    """The picture of a goal that has ended; of a long one only what went wrong."""
    out, now = console(), wall_clock()
    lines = draw_goal(goal, now, width=width_of(out), ascii_only=not writes_unicode(out))
    if len(lines) > _LONGEST_PICTURE:
        wrong = [task for task in goal.nodes if task.state is State.FAILED]
        lines = [lines[0], *(Text(f"✗ {plain(task.node or task.id)}  {detail(task, now)}") for task in wrong[:20])]
        remark(f"All of it: tenuto goal graph {goal.task.id}")
    for line in lines:
        out.print(line, soft_wrap=True)


async def _advice(client: Client, holding: Task) -> str:
    """What to do about a paused task without which nothing goes on."""
    steps = [step.key for step in await client.journal(holding.id) if step.state is StepState.STARTED]
    if steps:
        command = f"tenuto task resolve {holding.id} {shlex.quote(steps[0])} done|retry|fail"
        why = "nobody knows how its step ended"
    else:
        command, why = f"tenuto task resume {holding.id}", holding.reason or "no reason given"
    return f"Nothing can go on: task {holding.id} is paused ({why}). Run `{command}`, then the same command again."


def exit_code_for(goal: Goal) -> ExitCode:
    """How the program ends after this goal."""
    return {State.DONE: ExitCode.OK, State.CANCELLED: ExitCode.CANCELLED}.get(goal.task.state, ExitCode.FAILED)


async def work_on(
    client: Client, goal_id: str, agents: Sequence[Handler], config: WorkerConfig, *, quiet: bool = False
) -> Watched:
    """Runs a worker for `agents` in this program until the goal has ended or cannot go on.

    Ctrl-C and SIGTERM drain the worker first; whatever is unfinished stays stored for the next start.
    """
    worker = Worker(client.store, agents, config)
    working = asyncio.create_task(worker.run(), name="tenuto: worker")
    watching = asyncio.create_task(watch_goal(client, goal_id, quiet=quiet), name="tenuto: watch")
    try:
        with redirect_stdout(sys.stderr):  # what agents print must not get between the output of this command
            await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
        if not watching.done():
            await working  # it has failed: say how
        return await watching
    except asyncio.CancelledError:
        remark("Interrupted: handing back what runs. The same command goes on from here.")
        raise
    finally:
        watching.cancel()
        worker.drain()
        await asyncio.gather(watching, working, return_exceptions=True)
