"""One attempt at a task of an LLM agent: turn by turn, from where the last attempt ended.

The loop itself is Pydantic AI's. This drives it node by node, so that between two turns it can see to what is not the
library's business: the limit of turns, pauses, steering, time. Every operation of the library comes back through
`unit`, which asks the journal first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
import pydantic_ai
from pydantic_ai.durable_exec import (
    DurableOperationId,
    EventStreamHandlerId,
    ModelRequestId,
    ToolsetCallToolId,
    record_durable_unit,
    replay_scope,
)
from pydantic_ai.exceptions import UnexpectedModelBehavior, UsageLimitExceeded, UserError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.run import AgentRun
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import UsageLimits

from tenuto.agents.llm.context import request_parts
from tenuto.agents.llm.conversation import Conversation
from tenuto.agents.llm.current import ATTEMPT
from tenuto.agents.llm.deferred import until_one
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.model_calls import ModelParams, ask_model
from tenuto.agents.llm.money import Cheaper, Terms
from tenuto.agents.llm.prices import Price
from tenuto.agents.llm.streaming import can_stream, tell_tokens
from tenuto.agents.llm.tool_calls import call_tool
from tenuto.agents.llm.tool_servers import naming_servers
from tenuto.agents.llm.tools import ToolOptions
from tenuto.errors import AgentStuck, ModelError, TimeLimit, Unreachable
from tenuto.tasks.outcome import Step
from tenuto.tasks.waits import Wait
from tenuto.workers.context import Context
from tenuto.workers.scopes import CURRENT, NOTE, Place, Scope
from tenuto.workers.steps import StepCall, run_at

__all__ = ["CHEAPER", "Attempt"]

CHEAPER = "fallback"
"""The name of the agent's cheaper model, and the journal's key of the turn in which it took over."""


class Attempt:
    """Runs the conversation of one task in one process."""

    def __init__(self, context: Context, terms: Terms) -> None:
        self.context = context
        self.journal = context.journal
        self.conversation = Conversation(self.journal)
        self.scope = Scope(self.journal, "turn-0/")
        """where the open turn's entries lie"""
        self.suspensions: dict[str, Wait] = {}
        """tool calls that wait through their context, by the call's id"""
        self.lost_server: Unreachable | None = None
        """an MCP server that did not answer"""
        self.terms = terms
        self.cheaper = self.journal.note(CHEAPER) is not None
        """the agent's cheaper model has taken over"""
        self._steering: tuple[int, ...] = ()

    async def run(
        self, agent: pydantic_ai.Agent[Any, Any], prompt: str | None, before: Sequence[ModelMessage], deps: Any
    ) -> Any:
        """The agent's output. Raises `ModelError`, `AgentStuck`, and what a tool raises."""
        token = ATTEMPT.set(self)
        scope = CURRENT.set(self.scope)
        try:
            with replay_scope(), naming_servers(self):
                while True:
                    try:
                        return await self._converse(agent, prompt, before, deps)
                    except Cheaper:
                        await self._fall_back()
        except (UnexpectedModelBehavior, UsageLimitExceeded) as error:
            raise AgentStuck(f"agent {self.context.lease.agent!r} cannot come to an end: {error}") from error
        except UserError as error:
            raise ModelError(f"agent {self.context.lease.agent!r}: {error}", retryable=False) from error
        finally:
            CURRENT.reset(scope)
            ATTEMPT.reset(token)
            self.journal.forget("turn-")

    async def _converse(
        self, agent: pydantic_ai.Agent[Any, Any], prompt: str | None, before: Sequence[ModelMessage], deps: Any
    ) -> Any:
        history = await self.conversation.load()
        fresh = not history
        capabilities = []
        if TenutoDurability.from_agent(agent) is None:
            models = {} if self.terms.fallback is None else {CHEAPER: self.terms.fallback}
            model = self.terms.fallback if self.cheaper else agent.model
            handler = tell_tokens if self.terms.stream and can_stream(model) else None
            name = agent.name or self.context.lease.agent
            capabilities.append(TenutoDurability(name=name, models=models, event_stream_handler=handler))
        async with agent.iter(
            prompt if fresh else None,
            message_history=list(before) if fresh else history,
            model=CHEAPER if self.cheaper else None,
            deps=deps,
            usage=self.conversation.usage,
            usage_limits=UsageLimits(request_limit=None),
            capabilities=capabilities,
        ) as run:
            return await self._turns(run)

    @property
    def here(self) -> Scope:
        """Where the running code's entries lie: in the open turn, or in the call of a tool in which an agent of its own
        runs."""
        scope = self.journal.scope
        return scope if scope.path.startswith(f"{self.scope.path}call-") else self.scope

    @property
    def price(self) -> Price | None:
        """What the agent says about the price of the model that is asked now; nothing about that of another agent."""
        if self.here is not self.scope:
            return None
        return self.terms.fallback_price if self.cheaper else self.terms.price

    @property
    def limit_key(self) -> str | None:
        """The same about the limit that counts its requests."""
        return self.terms.limit_key if self.here is self.scope else None

    @property
    def may_fall_back(self) -> bool:
        """There is a cheaper model, and it is not the one that is asked already."""
        return self.terms.fallback is not None and not self.cheaper

    async def _fall_back(self) -> None:
        """From here on the cheaper model is asked, by the attempts to come too."""
        turn = msgspec.Raw(msgspec.json.encode(self.conversation.turn))
        await self.journal.commit(self.scope, (Step(CHEAPER, NOTE, value=turn),))
        self.cheaper = True
        self.conversation = Conversation(self.journal)

    async def _turns(self, run: AgentRun[Any, Any]) -> Any:
        node: Any = run.next_node
        until = time.monotonic() + self.context.turn_timeout
        while not pydantic_ai.Agent.is_end_node(node):
            if pydantic_ai.Agent.is_model_request_node(node):
                await self._begin_turn(node)
                until = time.monotonic() + self.context.turn_timeout
            try:
                node = await self._within(until, run, node)
            except UserError:
                await self._wait_for_tools()  # it may only say that a call has no result
                raise
            await self._wait_for_tools()
        result = run.result
        return None if result is None else result.output

    async def _wait_for_tools(self) -> None:
        """Leaves the task waiting in the store while a tool of this turn waits: an approved one, or one beside the
        final answer. (The library asks for the results of others itself, see `deferred`.)"""
        if self.suspensions:
            await self.journal.suspend(self.scope, until_one(list(self.suspensions.values()), []))

    async def _within(self, until: float, run: AgentRun[Any, Any], node: Any) -> Any:
        limit = asyncio.timeout(max(until - time.monotonic(), 0))
        try:
            async with limit:
                return await run.next(node)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeLimit(
                f"turn {self.conversation.turn} of agent {self.context.lease.agent!r} took longer than its time limit "
                f"of {self.context.turn_timeout:g} s"
            ) from None

    async def _begin_turn(self, node: pydantic_ai.ModelRequestNode[Any, Any]) -> None:
        self.journal.check()
        conversation = self.conversation
        conversation.turn += 1
        self.scope = Scope(self.journal, f"turn-{conversation.turn}/")
        CURRENT.set(self.scope)
        if conversation.replays:
            return
        if conversation.turn > self.terms.max_turns:
            raise AgentStuck(
                f"agent {self.context.lease.agent!r} has used up its {self.terms.max_turns} turns: "
                "raise max_turns, or give it a smaller task"
            )
        messages = await self.journal.steering_so_far()
        self._steering = tuple(message.number for message in messages)
        node.request.parts = [*node.request.parts, *(part for each in messages for part in request_parts(each.data))]

    def take_steering(self) -> tuple[int, ...]:
        """The steering that is part of the request of this turn; once."""
        found, self._steering = self._steering, ()
        return found

    async def unit(
        self,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        options: ToolOptions,
    ) -> object:
        """One operation of the library, as one entry of the journal."""
        scope = self.here
        match operation_id:
            case ModelRequestId():
                place = _next_place(scope, "model")
                params = ModelParams(*cast("tuple[Any, Any, Any]", (cache_key[4], cache_key[2], cache_key[3])))
                return await ask_model(self, place, params, body)
            case ToolsetCallToolId():
                tool, arguments, ctx = cast("tuple[str, dict[str, Any], RunContext[Any]]", cache_key[:3])
                return await call_tool(self, tool, arguments, ctx, body, options)
            case EventStreamHandlerId():
                return await body()
        place = _next_place(scope, name.partition("__")[2])
        recorded = self.journal.note(place.key)
        result = await run_at(self.journal, place, recorded, StepCall(place.name, body, type=Any))
        record_durable_unit(executed=recorded is None)
        return result


def _next_place(scope: Scope, name: str) -> Place:
    """The place of the next operation of this name: numbered as the scope's steps are, so that they cannot meet."""
    count = scope.counts.get(name, 0)
    scope.counts[name] = count + 1
    return Place(scope, name, f"{scope.path}{name}#{count}", NOTE)
