"""LLM agents: what people make, and what their workers run.

    agent = Agent("analyst", instructions="Be brief.", model="openai:gpt-5", tools=[search])
    task = agent.create_task(owner_id="ann", payload=AgentContext(query="Analyze this data"))

Whatever Pydantic AI can do in its own `Agent` is there for one of Tenuto's as well: `Agent.of(pydantic_agent)`, or
simply `register_runner(pydantic_agent)`.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self, Unpack

import pydantic_ai
from pydantic_ai.capabilities import AbstractCapability, Hooks
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset

from tenuto.agents.base import TaskAgent, TaskOptions, found_at, load
from tenuto.agents.llm.attempt import CHEAPER, Attempt
from tenuto.agents.llm.context import AgentContext, beginning, read_payload
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.models import ModelLike, build_model, modules_of
from tenuto.agents.llm.money import Terms
from tenuto.agents.llm.prices import Price, check_price
from tenuto.agents.llm.tool_results import ToolResultLimit
from tenuto.agents.llm.tools import made_tool
from tenuto.errors import InvalidInput, ModelError
from tenuto.observability.logging import logger
from tenuto.tasks.lease import Lease
from tenuto.workers.context import Context

__all__ = ["MOST_TURNS", "Agent"]

log = logger("tenuto.agents")

MOST_TURNS = 50
"""Turns of a task, unless the agent says otherwise."""


class Agent(TaskAgent):
    """A task agent that works in turns: a model, its instructions and its tools, under a name."""

    def __init__(
        self,
        name: str | None = None,
        instructions: str | None = None,
        model: ModelLike | None = None,
        tools: Sequence[Any] = (),
        output_type: Any = str,
        *,
        max_turns: int = MOST_TURNS,
        hooks: Hooks[Any] | None = None,
        context_type: type[AgentContext] = AgentContext,
        toolsets: Sequence[AbstractToolset[Any]] = (),
        capabilities: Sequence[AbstractCapability[Any]] = (),
        model_settings: ModelSettings | None = None,
        deps: Callable[[Context, AgentContext], Any] | None = None,
        retries: int | None = None,
        tool_result_limit: int | None = None,
        price: Price | None = None,
        fallback: ModelLike | None = None,
        fallback_price: Price | None = None,
        limit_key: str | None = None,
        stream: bool = False,
        base_url: str | None = None,
        **options: Unpack[TaskOptions],
    ) -> None:
        """name: what tasks are addressed to. instructions, model, tools, output_type, toolsets, capabilities,
        model_settings: as `pydantic_ai.Agent` takes them. A model by name (`"openai:gpt-5"`), or a function that makes
        one, is built in the worker; one that was built already can only be sent to other processes with the module that
        holds the agent.

        max_turns: a hard stop for each task, however often it is interrupted. hooks: functions that are called before
        and after each request, tool call and run (`pydantic_ai.capabilities.Hooks`); those of the turn that an attempt
        begins with may have been called before. context_type: what payloads are read as.
        deps: makes what tools find in `ctx.deps` from the task's context and payload; the payload itself without it.
        retries: how often the model may correct a call or an output that does not fit. tool_result_limit: characters of
        a tool's result that the model is given at once; it can read on. price: of a model that no price
        list knows, US dollars per million tokens in and out. fallback, fallback_price: the model that goes on where a
        budget says so. limit_key: the limit that counts requests; `<limit_key>:tokens` counts tokens. stream:
        tells what the model says while it says it, as events named `tokens` (see `streaming`). base_url: of an endpoint
        that speaks as the provider in the model's name does. The others: see `task_agent`.

        Raises `InvalidInput` that names the parameter which makes no sense.
        """
        super().__init__(
            "agent" if name is None else name,
            **options,
        )
        if type(max_turns) is not int or max_turns < 1:
            raise InvalidInput(f"max_turns of agent {self.name!r} must be a whole number from 1, not {max_turns!r}")
        self.max_turns = max_turns
        check_price(price, f"the price of agent {self.name!r}")
        check_price(fallback_price, f"the fallback_price of agent {self.name!r}")
        self._price, self._fallback, self._fallback_price = price, fallback, fallback_price
        self._limit_key, self._base_url = limit_key, base_url
        self._stream = stream
        self._context_type = context_type
        self._deps = deps
        if tool_result_limit is not None:
            capabilities = (*capabilities, ToolResultLimit(tool_result_limit))
        self._recipe: Mapping[str, Any] | None = {
            "model": model,
            "name": self.name,
            "instructions": instructions,
            "tools": tuple(map(made_tool, tools)),
            "output_type": output_type,
            "toolsets": tuple(toolsets),
            "capabilities": (*capabilities, *(() if hooks is None else (hooks,))),
            "model_settings": model_settings,
            "retries": retries,
        }
        self._made: pydantic_ai.Agent[Any, Any] | None = None
        self._own_terms: Terms | None = None
        self._keys: dict[str, str] = {}
        self._place: tuple[str, str] | None = None
        """where other processes find it, when this is a copy"""

    @classmethod
    def of(cls, agent: pydantic_ai.Agent[Any, Any], **options: Any) -> Self:
        """A task agent around one of Pydantic AI's. options: as for `Agent`, but for what `agent` says itself."""
        name = options.pop("name", None) or agent.name
        if not name:
            raise InvalidInput("the pydantic_ai.Agent has no name: give it one, tasks are addressed to it")
        made = cls(name, **options)
        made._made, made._recipe = agent, None
        return made

    def with_keys(self, keys: Mapping[str, str]) -> Self:
        """A copy whose models, where they are given by name, use these API keys, by provider (`openai`, `anthropic`,
        `xai`, …), rather than those of the environment."""
        if not keys:
            return self
        other = copy.copy(self)
        state = other.__dict__
        state |= {"_keys": {**self._keys, **keys}, "_place": self._place or found_at(self)}
        if self._recipe is not None:
            state |= {"_made": None, "_own_terms": None}
        return other

    def with_model(self, model: Model) -> Self:
        """A copy that asks `model` only. One around a `pydantic_ai.Agent` stays that agent, with the model it has."""
        other = copy.copy(self)
        if self._recipe is not None:
            recipe = {**self._recipe, "model": model}
            other.__dict__ |= {"_made": None, "_own_terms": None, "_recipe": recipe, "_fallback": model}
        return other

    @property
    def pydantic_agent(self) -> pydantic_ai.Agent[Any, Any]:
        """The agent that runs the conversation, made when it is first needed."""
        if self._made is None:
            recipe = dict(self._recipe or {})
            if recipe["model"] is not None:
                recipe["model"] = build_model(recipe["model"], base_url=self._base_url, keys=self._keys)
            recipe["capabilities"] = (*recipe["capabilities"], *self._durability(recipe["capabilities"]))
            self._made = pydantic_ai.Agent(**recipe, deps_type=self._context_type, defer_model_check=True)
        return self._made

    def _durability(self, given: Sequence[AbstractCapability[Any]]) -> Sequence[AbstractCapability[Any]]:
        """The capability that attempts would otherwise bind to the agent each time: most of what their start costs.
        One that streams gets it from them, since it depends on the model that is asked."""
        if self._terms.stream or any(isinstance(each, TenutoDurability) for each in given):
            return ()
        fallback = self._terms.fallback
        return (TenutoDurability(name=self.name, models={} if fallback is None else {CHEAPER: fallback}),)

    @property
    def preload(self) -> tuple[str, ...]:
        """See `workers.handler.preload_of`."""
        models = (self._recipe or {}).get("model"), self._fallback
        return ("tenuto.agents.llm.agent", *(module for model in models for module in modules_of(model)))

    @property
    def _terms(self) -> Terms:
        if self._own_terms is None:
            fallback = (
                None
                if self._fallback is None
                else build_model(self._fallback, base_url=self._base_url, keys=self._keys)
            )
            self._own_terms = Terms(
                self.max_turns, self._price, fallback, self._fallback_price, self._limit_key, self._stream
            )
        return self._own_terms

    def __reduce__(self) -> tuple[Any, ...]:
        # To other processes by name where it can be found there; else what it is made of travels, and it is made anew.
        place = self._place or found_at(self)
        if place is not None:
            return (_load_with_keys, (*place, self._keys)) if self._keys else (load, place)
        state = self.__dict__ | {"_made": None, "_own_terms": None}
        if self._recipe is not None:
            return _bare, (type(self),), state
        theirs = found_at(self._made)
        if theirs is None:
            raise InvalidInput(
                f"the pydantic_ai.Agent {self.name!r} cannot be sent to worker processes: define it in a module that "
                "the program imports, or give the orchestrator executor='thread'"
            )
        return _around, (type(self), *theirs, state)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Holds the connections of its models while a worker serves it: see `workers.handler.serving`."""
        async with AsyncExitStack() as stack:
            try:
                for model in (self.pydantic_agent.model, self._terms.fallback):
                    if isinstance(model, Model):
                        await stack.enter_async_context(model)
            except InvalidInput as error:
                log.warning("an agent cannot work: its tasks fail", agent=self.name, why=str(error))
            yield

    async def handle(self, context: Context, lease: Lease) -> Any:
        """Carries out one attempt: see `workers.handler`."""
        try:
            agent = self.pydantic_agent
        except InvalidInput as error:
            raise ModelError(f"agent {self.name!r} cannot work: {error}", retryable=False) from error
        return await Attempt(context, self._terms).run(agent, *self.opening(context, lease))

    def opening(self, context: Context, lease: Lease) -> tuple[str | None, list[ModelMessage], Any]:
        """What the conversation about a task begins with: a prompt, what was said before, and the tools' `ctx.deps`."""
        where = f"task {lease.task_id!r}"
        payload = read_payload(bytes(lease.payload), self._context_type, where)
        deps = payload if self._deps is None else self._deps(context, payload)
        return payload.query or None, beginning(payload.messages, where), deps


def _bare(kind: type[Agent]) -> Agent:
    return kind.__new__(kind)


def _around(kind: type[Agent], module: str, path: str, state: Mapping[str, Any]) -> Agent:
    made = _bare(kind)
    made.__dict__.update(state, _made=load(module, path))
    return made


def _load_with_keys(module: str, path: str, keys: Mapping[str, str]) -> TaskAgent:
    found = load(module, path)
    return found.with_keys(keys) if isinstance(found, Agent) else found
