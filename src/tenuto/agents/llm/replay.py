"""Replay: the recorded conversation of a task, turn by turn, through the agent's present code.

    replay = await replay_task(client.store, task_id, agent)
    for turn in replay.turns:
        print(turn.turn.number, turn.request, turn.departures)

No model is asked and no tool runs: what they gave comes from the journal. What lies between them is the code of today:
instructions, the tools that there are, the check of arguments, output types, validators, hooks, `deps`. Where that does
not lead from one recorded turn to the next, the turn *departs* from the record, and says how. Each turn begins from the
record, so that one departure does not hide the others. Where the request itself would be another one, by other
instructions, or tools and forms of output that are described in another way, that is told apart: nobody knows what a
model would make of it.

It reads the store and writes nothing, so it needs no lease: a task may be replayed while it runs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, cast

import pydantic_ai
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    DurableOperationId,
    EventStreamHandlerId,
    ModelRequestId,
    ToolsetCallToolId,
)
from pydantic_ai.messages import ModelMessage, ModelRequest, ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.run import AgentRun
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.attempt import Attempt
from tenuto.agents.llm.conversation import Conversation
from tenuto.agents.llm.money import CHEAPER, Terms
from tenuto.agents.llm.offers import SHOWN, offer_differences, offer_of, shortened, text_difference
from tenuto.agents.llm.operations import COMPACTION
from tenuto.agents.llm.recording import NotRecorded, RecordedContext
from tenuto.agents.llm.tools import ToolOptions
from tenuto.errors import InvalidInput
from tenuto.stores import large
from tenuto.stores.base import Store
from tenuto.stores.conversations import Entries, turns_of
from tenuto.tasks.calls import call_name
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.tasks.turns import Turn, log_of, without_steering
from tenuto.tasks.values import decode, encode
from tenuto.workers.journal import Journal

__all__ = ["Replay", "ReplayedTurn", "replay_task"]

_COMPARED = ("part_kind", "tool_name", "tool_call_id", "content", "outcome")
_RUNS = "(the tool runs)"


@dataclass(frozen=True)
class ReplayedTurn:
    """A recorded turn, and how the present code departs from it."""

    turn: Turn
    request: list[str] = field(default_factory=list)
    """sentences on how its request would differ now"""
    departures: list[str] = field(default_factory=list)
    """sentences on what is done otherwise behind it; empty where the code does what is on record"""


@dataclass(frozen=True)
class Replay:
    """What came of a replay."""

    task_id: str
    turns: list[ReplayedTurn]

    @property
    def departs(self) -> bool:
        """Whether the present code asks for or does anything else than what is on record."""
        return any(turn.request or turn.departures for turn in self.turns)

    @property
    def requests(self) -> dict[str, list[int]]:
        """Each sentence on how requests would differ now, with the numbers of the turns for which it holds."""
        found: dict[str, list[int]] = {}
        for turn in self.turns:
            for sentence in turn.request:
                found.setdefault(sentence, []).append(turn.turn.number)
        return found


async def replay_task(store: Store, task_id: str, agent: Agent) -> Replay:
    """Runs the recorded turns of a task through `agent`, as its code is now. Changes nothing.

    Raises `InvalidInput` for a task of another agent, and for one without recorded turns.
    """
    task = await store.task(task_id)
    steps = await store.journal(task_id) if task is not None else ()
    turns = [] if task is None else await turns_of(Entries(store, task, steps))
    if task is None or not turns:
        raise InvalidInput(f"task {task_id!r} has no recorded turns: there is nothing to replay")
    if task.agent != agent.name:
        raise InvalidInput(f"task {task_id!r} is one of agent {task.agent!r}, not of {agent.name!r}")
    payload = encode(await large.payload_of(store, task), f"the payload of task {task_id!r}")
    result = await large.result_of(store, task) if task.state is State.DONE else None
    model = _unasked(agent, steps)
    silent = agent.with_model(model)
    found = []
    for number in range(1, len(turns) + 1):
        following = turns[number] if number < len(turns) else None
        attempt = _OneTurn(RecordedContext(task, payload, store, steps), turns[:number], following, model)
        await attempt.replay(silent, task, result)
        found.append(ReplayedTurn(turns[number - 1], attempt.request, attempt.departures))
    return Replay(task_id, found)


def _unasked(agent: Agent, steps: Sequence[Step]) -> Model:
    """A model that is not asked: where summaries are on record the agent's own, since who asks for them looks at what
    it is; else one that needs no key."""
    if any(f"/{COMPACTION}#" in step.key for step in steps):
        with suppress(InvalidInput, OSError):
            model = agent.pydantic_agent.model
            if isinstance(model, Model):
                return model
    return _SILENT


def _silent(_: list[ModelMessage], __: AgentInfo) -> ModelResponse:
    raise NotRecorded("the model is asked for something that is not on record")


_SILENT = FunctionModel(_silent, model_name="replay")


class _Before(Conversation):
    """The conversation as it stood when the model was asked for one turn."""

    def __init__(self, journal: Journal, turns: Sequence[Turn]) -> None:
        super().__init__(journal)
        *before, last = turns
        self.turn, self.recorded = len(before), len(turns)
        self._messages = [*log_of(before)[: last.kept], *last.messages] if before else []

    async def load(self) -> list[ModelMessage]:
        """They end with the request of that turn; none for the first, which begins anew."""
        return cast("list[ModelMessage]", JSON_CODEC.load(list[ModelMessage], self._messages))


class _OneTurn(Attempt):
    """Goes from the request of one recorded turn to the next one, or to the end."""

    def __init__(self, context: RecordedContext, turns: Sequence[Turn], following: Turn | None, model: Model) -> None:
        super().__init__(context, Terms(len(turns), others={CHEAPER: model}))
        self.cheaper = True  # the model that takes over is the silent one
        self.conversation = _Before(self.journal, turns)
        self.request: list[str] = []
        self.departures: list[str] = []
        self._turn, self._following = turns[-1], following
        self._offer = next((turn.offer for turn in reversed(turns) if turn.offer is not None), None)
        self._next: ModelRequest | None = None
        self._asked = False

    async def replay(self, agent: Agent, task: Task, result: Any) -> None:
        """Notes in `departures` where the way from this turn on is another one than the recorded."""
        try:
            output = await self.run(agent.pydantic_agent, *agent.opening(self.context, self.context.lease))
        except NotRecorded as error:
            if self._following is not None or task.state is State.DONE:
                self.departures.append(str(error))
        except Exception as error:  # noqa: BLE001  # whatever the present code raises is what is looked for
            if self._following is not None or task.state is not State.FAILED:
                self.departures.append(f"it fails now: {type(error).__name__}: {error}"[: 2 * SHOWN])
        else:
            self._compare_end(task, output, result)

    async def unit(
        self,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        options: ToolOptions,
    ) -> object:
        """What is on record of one operation of the library; nothing is carried out."""
        match operation_id:
            case ModelRequestId() if not self._asked:  # what follows in the same turn continues the same response
                self._asked = True
                _, sent, _, parameters, _ = cast("tuple[Any, ...]", cache_key)
                self._compare_request(sent, offer_of(parameters))
            case EventStreamHandlerId():
                return None
            case ToolsetCallToolId():
                tool, _, ctx = cast("tuple[str, Any, RunContext[Any]]", cache_key[:3])
                if not self._has_run(tool, ctx):
                    if self._following is None:
                        raise NotRecorded(f"tool {tool!r} runs, which is not on record")
                    return {"kind": "tool_failed", "message": _RUNS}
        return await super().unit(operation_id, name, _refuse(name), cache_key, options)

    def _has_run(self, tool: str, ctx: RunContext[Any]) -> bool:
        key = f"{self.scope.path}{call_name(ctx.tool_call_id or tool)}/{tool}"
        step = self.journal.note(key + ("@approved" if ctx.tool_call_approved else ""))
        return step is not None and step.state is not StepState.STARTED

    async def _turns(self, run: AgentRun[Any, Any]) -> Any:
        node: Any = run.next_node
        asked = False
        while not pydantic_ai.Agent.is_end_node(node):
            if pydantic_ai.Agent.is_model_request_node(node):
                if asked:
                    self._next = node.request
                    return None
                asked = True
                self._begin_turn(node)
            node = await run.next(node)
        return None if run.result is None else run.result.output

    def new_run(self) -> str:
        """One that was never on record."""
        return f"{super().new_run()}:replay"

    # -- comparing

    def _compare_request(self, messages: Sequence[ModelMessage], offer: Mapping[str, Any]) -> None:
        then, now = (each.get("instructions") or "" for each in (self._turn.messages[-1], _plain(messages[-1])))
        if then != now:
            self.request.append(text_difference("the instructions", then, now))
        if self._offer is not None:
            self.request += offer_differences(self._offer, offer)
        if self._turn.number == 1:
            present = cast("list[dict[str, Any]]", JSON_CODEC.dump(list[ModelMessage], messages))
            self._compare_parts(_asked_with(without_steering(self._turn)), _asked_with(present))

    def _compare_end(self, task: Task, output: Any, result: Any) -> None:
        if self._next is not None and self._following is not None:
            self._compare_parts(without_steering(self._following)[-1]["parts"], _plain(self._next)["parts"])
        elif self._next is not None and task.state is State.DONE:
            said = "; ".join(shortened(part.get("content")) for part in _plain(self._next)["parts"])
            self.departures.append(f"the task ended here, and goes on now: the model is told {said}")
        elif self._next is None and self._following is not None:
            self.departures.append(f"the task went on here, and ends now with {shortened(output)}")
        elif self._next is None and task.state is State.DONE:
            now = decode(encode(output, "the result"))
            if now != result:
                self.departures.append(f"the result was {shortened(result)} and is {shortened(now)}")

    def _compare_parts(self, recorded: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> None:
        for number in range(max(len(recorded), len(now))):
            then = recorded[number] if number < len(recorded) else {}
            here = now[number] if number < len(now) else {}
            if any(then.get(name) != here.get(name) for name in _COMPARED):
                self.departures.append(f"{_about(then or here)} was {_told(then)} and is {_told(here)}")


def _refuse(name: str) -> Callable[[], Awaitable[object]]:
    async def body() -> object:
        raise NotRecorded(f"{name} is not on record")

    return body


def _asked_with(messages: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The parts of the requests at the end: what an earlier conversation ends with, such as the results of a fork's
    tools, and what the task adds; the library sends them as one."""
    requests = list(takewhile(lambda message: message["kind"] == "request", reversed(messages)))
    return [part for request in reversed(requests) for part in request["parts"]]


def _plain(request: ModelMessage) -> dict[str, Any]:
    return cast("list[dict[str, Any]]", JSON_CODEC.dump(list[ModelMessage], [request]))[0]


def _about(part: Mapping[str, Any]) -> str:
    call = part.get("tool_call_id")
    return (
        f"what the model is told of call {call!r} of tool {part['tool_name']!r}" if call else "what the model is told"
    )


def _told(part: Mapping[str, Any]) -> str:
    if not part:
        return "nothing"
    outcome = part.get("outcome", "success")
    return shortened(part.get("content")) + ("" if outcome == "success" else f" ({outcome})")
