"""One attempt at a task of an LLM agent: turn by turn, from where the last attempt ended.

The loop itself is Pydantic AI's. This drives it node by node, so that between two turns it can see to what is not the
library's business: the limit of turns, pauses, steering, time. Every operation of the library comes back through
`unit`, which asks the journal first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import msgspec
import pydantic_ai
from pydantic_ai.durable_exec import DurableOperationId, replay_scope
from pydantic_ai.exceptions import UserError
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.run import AgentRun
from pydantic_ai.tools import RunContext
from pydantic_ai.usage import UsageLimits

from tenuto.agents.llm.bounds import BesideText
from tenuto.agents.llm.context import request_parts
from tenuto.agents.llm.conversation import Conversation
from tenuto.agents.llm.current import ATTEMPT, TOOLS
from tenuto.agents.llm.deferred import until_one
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.failures import Failure, outcome
from tenuto.agents.llm.kept_results import keep_results
from tenuto.agents.llm.money import CHEAPER, Cheaper, Terms, unwrapped
from tenuto.agents.llm.operations import carry_out
from tenuto.agents.llm.prices import Price
from tenuto.agents.llm.streaming import can_stream, tell_tokens
from tenuto.agents.llm.tool_servers import naming_servers
from tenuto.agents.llm.tools import ToolOptions
from tenuto.errors import AgentStuck, TimeLimit, Unreachable
from tenuto.tasks.calls import call_name
from tenuto.tasks.outcome import Step
from tenuto.tasks.waits import Wait
from tenuto.workers.context import Context
from tenuto.workers.journal import Unread
from tenuto.workers.scopes import CURRENT, NOTE, Scope

__all__ = ["Attempt"]


class Attempt:
    """Runs the conversation of one task in one process."""

    def __init__(self, context: Context, terms: Terms) -> None:
        self.context = context
        self.journal = context.journal
        self.conversation = Conversation(self.journal)
        self.scope = Scope(self.journal, "turn-0/")
        """where the open turn's entries lie"""
        self.name = ""
        """of the agent, as the library's operations have it"""
        self._others: dict[str, Scope] = {}
        """where the entries of agents lie that run beside the tools: in a history processor, for example"""
        self.suspensions: dict[str, Wait] = {}
        """tool calls that wait through their context, by the call's id"""
        self.asked: set[str] = set()
        """the calls of the open turn, by their ids, that the library has come to"""
        self.once_only: set[asyncio.Future[None]] = set()
        """calls under way of tools that run only once: each ends with its call"""
        self.lost_server: Unreachable | None = None
        """an MCP server that did not answer"""
        self.failures: list[Failure] = []
        """requests to a model that have failed"""
        self.announced = Counter[str]()
        """how many requests this attempt has announced, by the journal's keys of their places"""
        self.unanswered: set[str] = set()
        """the journal's keys of requests that have ended without a response, for whatever reason"""
        self.terms = terms
        self.cheaper = self.journal.note(CHEAPER) is not None
        """the agent's cheaper model has taken over"""
        self.read = 0
        """how far the inbox was read when the open turn began"""
        self.beside_text = BesideText()
        self._runs = 0
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
                    except Unread:
                        await self.journal.steering()
                    self.conversation = Conversation(self.journal)
        except Exception as error:
            if (instead := outcome(self, error)) is None:
                raise
            raise instead from error
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
        durability = TenutoDurability.from_agent(agent)
        self.name = agent.name or self.context.lease.agent if durability is None else durability.name
        if durability is None:
            others = self.terms.others
            model = others[CHEAPER] if self.cheaper else agent.model
            handler = tell_tokens if self.terms.stream and can_stream(model) else None
            capabilities.append(TenutoDurability(name=self.name, models=others, event_stream_handler=handler))
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

    def new_run(self) -> str:
        """Names a run of the library, this agent's or another one's: it must not be the name of one whose messages are
        in the history."""
        again = f"+{self._runs}" if self._runs else ""
        self._runs += 1
        return f"{self.context.task_id}:{self.context.attempt}{again}"

    @property
    def here(self) -> Scope:
        """Where the running code's entries lie: in the open turn, or with another agent that runs in it, inside a tool
        or beside the tools."""
        scope, turn = self.journal.scope, self.scope
        inside = scope is turn or scope.path.startswith((f"{turn.path}call-", f"{turn.path}agent-"))
        return scope if inside else turn

    def model_of(self, model_id: str | None, ctx: RunContext[Any]) -> Model:
        """The model that is asked. model_id: what the library knows it by, where it is not that of the run."""
        others = self.terms.others if self.here is self.scope else {}
        return others.get(model_id or "") or cast(Model, ctx.model)

    def price_of(self, model: Model) -> Price | None:
        """What the agent says about the price of `model`: of its own, and of its cheaper one."""
        if not self._is_own(model):
            return None
        return self.terms.fallback_price if self.cheaper else self.terms.price

    def limit_key_of(self, model: Model) -> str | None:
        """The same about the limit that counts its requests."""
        return self.terms.limit_key if self._is_own(model) else None

    def _is_own(self, model: Model) -> bool:
        """It is neither another agent's model nor another candidate of a `ModelFallback`."""
        others = (each for name, each in self.terms.others.items() if name != CHEAPER)
        return self.here is self.scope and all(model is not unwrapped(each) for each in others)

    @property
    def who(self) -> str:
        """Whose work it is that the running code does, for errors."""
        tools = "".join(f", tool {name!r}" for name in TOOLS.get())
        return f"agent {self.context.lease.agent!r}, turn {self.conversation.turn}{tools}"

    @property
    def may_fall_back(self) -> bool:
        """There is a cheaper model, and it is not the one that is asked already."""
        return CHEAPER in self.terms.others and not self.cheaper

    async def _fall_back(self) -> None:
        """From here on the cheaper model is asked, by the attempts to come too."""
        turn = msgspec.Raw(msgspec.json.encode(self.conversation.turn))
        await self.journal.commit(self.scope, (Step(CHEAPER, NOTE, value=turn),))
        self.cheaper = True

    async def _turns(self, run: AgentRun[Any, Any]) -> Any:
        limit = asyncio.timeout(self.context.turn_timeout)
        try:
            async with limit:
                await self._turn_by_turn(run, limit)
        except TimeoutError:
            if not limit.expired():
                raise
            raise TimeLimit(
                f"turn {self.conversation.turn} of agent {self.context.lease.agent!r} took longer than its time limit "
                f"of {self.context.turn_timeout:g} s"
            ) from None
        result = run.result
        return None if result is None else result.output

    async def _turn_by_turn(self, run: AgentRun[Any, Any], limit: asyncio.Timeout) -> None:
        clock = asyncio.get_running_loop().time
        node: Any = run.next_node
        begun = False
        while not pydantic_ai.Agent.is_end_node(node):
            if pydantic_ai.Agent.is_model_request_node(node):
                if begun:
                    await keep_results(self, node.request)
                begun = True
                if limit.expired():  # and something in the turn has swallowed that it was cancelled
                    raise TimeoutError
                self._begin_turn(node)
                limit.reschedule(clock() + self.context.turn_timeout)
            try:
                node = await run.next(node)
            except UserError:
                await self._wait_for_tools()  # it may only say that a call has no result
                raise
            await self._wait_for_tools()

    async def _wait_for_tools(self) -> None:
        """Leaves the task waiting in the store while a tool of this turn waits: an approved one, or one beside the
        final answer. (The library asks for the results of others itself, see `deferred`.)"""
        if self.suspensions:
            await self.journal.suspend(self.scope, until_one(list(self.suspensions.values()), []))

    def _begin_turn(self, node: pydantic_ai.ModelRequestNode[Any, Any]) -> None:
        self.journal.check()
        conversation = self.conversation
        conversation.turn += 1
        self.scope = Scope(self.journal, f"turn-{conversation.turn}/")
        self._others.clear()
        self.asked.clear()
        CURRENT.set(self.scope)
        if conversation.replays:
            return
        if conversation.turn > self.terms.max_turns:
            raise AgentStuck(
                f"agent {self.context.lease.agent!r} has used up its {self.terms.max_turns} turns: "
                "raise max_turns, or give it a smaller task"
            )
        messages, self.read = self.journal.inbox.steering(), self.journal.inbox.read
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
        if name.startswith(f"{self.name}__") or self.here is not self.scope:
            return await carry_out(self, operation_id, name, body, cache_key, options)
        other = f"{self.scope.path}agent-{call_name(name.partition('__')[0]).removeprefix('call-')}/"
        token = CURRENT.set(self._others.setdefault(other, Scope(self.journal, other)))
        try:
            return await carry_out(self, operation_id, name, body, cache_key, options)
        finally:
            CURRENT.reset(token)
