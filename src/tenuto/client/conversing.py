"""Conversations of agents that work in turns: what was said, and new tasks that go on from a turn of an old one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tenuto.client.reading import Reading
from tenuto.client.spending import Spending
from tenuto.client.submitting import Submitting
from tenuto.errors import Conflict, InvalidInput, NotFound
from tenuto.stores import large
from tenuto.stores.conversations import Entries, turns_of
from tenuto.tasks.calls import answer_key, issued_key, said
from tenuto.tasks.event import EventKind
from tenuto.tasks.ids import check_id, new_id
from tenuto.tasks.states import State
from tenuto.tasks.task import Task, TaskSpec
from tenuto.tasks.turns import (
    Turn,
    calls_of,
    log_of,
    nobodys,
    outcome_of,
    result_keys,
    returned,
    without_steering,
)
from tenuto.tasks.values import encode

__all__ = ["Conversing"]


class Conversing(Submitting, Reading, Spending):
    """The verbs about turns."""

    async def get_turns(self, task_id: str) -> list[Turn]:
        """The turns of a task that were recorded, in order: what was added to the conversation, the response, and what
        it cost. Empty for a task whose agent has said nothing yet, or does not work in turns. Of a task that was
        started over, the turns since then. Raises `NotFound`."""
        task = await self._task(task_id)
        costs = await self._costs(task)
        entries = Entries(self._store, task, await self._store.journal(task_id))
        turns = await turns_of(entries)
        return [
            msgspec.structs.replace(
                turn, cost=costs.get(f"turn-{turn.number}", 0), answered=await _answered(turn, entries)
            )
            for turn in turns
        ]

    async def _costs(self, task: Task) -> Mapping[str, int]:
        """What the calls of each turn count as, in nano-dollars, since the task was begun with an empty journal."""
        forgotten = await self._forgotten(task)
        costs: dict[str, int] = {}
        for entry in await self._store.ledger(task.id):
            if entry.attempt > forgotten:
                turn = entry.call.partition("/")[0]
                costs[turn] = costs.get(turn, 0) + entry.counted.money
        return costs

    async def _forgotten(self, task: Task) -> int:
        """The last attempt whose journal was forgotten; 0 where none was."""
        last, more = 0, task.epoch > 0
        cursor: str | None = None
        while more:
            page = await self._store.events(cursor, task_id=task.id, kinds=(EventKind.RETRIED,))
            last = max((event.attempt for event in page.events if event.data["fresh"]), default=last)
            cursor, more = page.cursor, bool(page.events)
        return last

    async def fork_task(
        self,
        task_id: str,
        turn: int,
        *,
        message: str | None = None,
        payload: Mapping[str, Any] | None = None,
        id: str | None = None,
    ) -> str:
        """Submits a new task that begins where another stood after its turn `turn`, and returns its id.

        Nothing that was recorded up to there is asked for or run again: responses of the model, results of tools, of
        children and of people are part of what the new task begins with. Messages with which the old one was steered
        after that turn are not. The old task, which may be running or have ended, is not touched. The new one has its
        agent, owner and terms; its metadata say `forked_from`.

        turn: 0 is the beginning, with nothing said. message: what the agent is told next; for turn 0 in place of its
        query. payload: fields of the payload that are to be different. id: of the new task.

        Raises `NotFound` for an unknown task or turn; `Conflict` when a call of that turn has no result yet, or `id` is
        taken; `InvalidInput` for a task that does not work in turns, and where nothing follows without a message.
        """
        task = await self._task(task_id)
        changes = _changes(payload)
        entries = Entries(self._store, task, await self._store.journal(task_id))
        turns = await turns_of(entries)
        _check_turn(task, turn, len(turns))
        told = await large.payload_of(self._store, task)
        fields = dict(told) if isinstance(told, dict) else {"query": told}
        if turn:
            messages = await _messages(task, turns, turn, entries, message)
            fields |= {"query": "", "messages": nobodys(messages)}
        if message is not None:
            fields["query"] = message
        return await self.enqueue_task(None, _spec(task, turn, fields | changes, id))


async def _answered(turn: Turn, entries: Entries) -> list[dict[str, Any]]:
    """What people have said to the calls of a turn."""
    found = []
    for call in calls_of(turn.response):
        asked, told = entries.get(issued_key(call["tool_call_id"])), entries.done(answer_key(call["tool_call_id"]))
        if asked is None or told is None:
            continue
        kind = (await entries.value(asked))["kind"]
        answer = await entries.value(told)
        about = {"tool_call_id": call["tool_call_id"], "tool": call["tool_name"], "kind": kind}
        found.append(about | said(kind, answer))
    return found


async def _messages(
    task: Task, turns: Sequence[Turn], number: int, entries: Entries, message: str | None
) -> list[dict[str, Any]]:
    """The conversation after turn `number`, with what came of its calls."""
    log = log_of(turns[:number])
    if number < len(turns):
        following = turns[number]
        return [*log[: following.kept], *without_steering(following)]
    calls = calls_of(turns[-1].response)
    parts = [part for call in calls for part in await _outcome(task, number, call, entries)]
    if not parts and message is None:
        raise InvalidInput(
            f"turn {number} of task {task.id!r} calls no tool, so nothing follows it by itself: "
            "give a message that the agent is to answer"
        )
    parts.sort(key=lambda part: part["part_kind"] != "tool-return")
    return [*log, {"kind": "request", "parts": parts}] if parts else log


async def _outcome(task: Task, number: int, call: Mapping[str, Any], entries: Entries) -> list[dict[str, Any]]:
    for key in result_keys(number, call):
        step = entries.done(key)
        if step is None:
            continue
        parts = outcome_of(call, await entries.value(step))
        if parts is not None:
            return parts
    if task.state is State.DONE:  # the call was the answer itself, or came beside it
        return [returned(call, "Final result processed.")]
    raise Conflict(
        f"turn {number} of task {task.id!r} is not over: call {call['tool_call_id']!r} of tool "
        f"{call['tool_name']!r} has no result; fork it after turn {number - 1}, or when it is over"
    )


def _changes(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    if payload is None:
        return {}
    if not isinstance(payload, Mapping):
        raise InvalidInput(f"payload must be a mapping of the fields that are to differ, not {type(payload).__name__}")
    if "messages" in payload:
        raise InvalidInput("payload: the messages of a fork are those of the task it begins with; give a message")
    return dict(payload)


def _check_turn(task: Task, turn: int, recorded: int) -> None:
    if type(turn) is not int or turn < 0:
        raise InvalidInput(f"turn must be a whole number from 0, not {turn!r}")
    if not recorded:
        raise InvalidInput(
            f"{task.kind.value} {task.id!r} has no recorded turns: only tasks of agents that work in turns are forked"
        )
    if turn > recorded:
        raise NotFound(f"task {task.id!r} has {recorded} recorded turn{'s' * (recorded > 1)}, so none numbered {turn}")


def _spec(task: Task, turn: int, payload: dict[str, Any], id: str | None) -> TaskSpec:
    """The terms of `task` under a new id. What belongs to that one submission (keys, times) does not come along."""
    new = new_id() if id is None else check_id(id)
    return TaskSpec(
        id=new,
        agent=task.agent,
        owner=task.owner,
        payload=msgspec.Raw(encode(payload, f"the payload of task {new!r}")),
        title=task.title,
        priority=task.priority,
        band=task.band,
        attempt_timeout=task.attempt_timeout,
        timeout=task.timeout,
        retry=task.retry,
        limits=task.limits,
        tags=task.tags,
        metadata={**task.metadata, "forked_from": {"task": task.id, "turn": turn}},
        budget=task.budget,
    )
