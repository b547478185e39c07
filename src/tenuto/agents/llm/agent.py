"""LLM agents: what people make, and what their workers run.

    agent = Agent("analyst", instructions="Be brief.", model="openai:gpt-5", tools=[search])
    task = agent.create_task(owner_id="ann", payload=AgentContext(query="Analyze this data"))

Whatever Pydantic AI can do in its own `Agent` is there for one of Tenuto's as well: `Agent.of(pydantic_agent)`, or
simply `register_runner(pydantic_agent)`.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain
from typing import Any, Self, Unpack

import pydantic_ai
from pydantic_ai.capabilities import AbstractCapability, Hooks
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings
from pydantic_ai.toolsets import AbstractToolset

from tenuto.agents.base import TaskAgent, TaskOptions, found_at, load
from tenuto.agents.llm.ability import able, check_recipe
from tenuto.agents.llm.attempt import Attempt
from tenuto.agents.llm.candidates import candidates, named
from tenuto.agents.llm.context import AgentContext, beginning, read_payload
from tenuto.agents.llm.durability import TenutoDurability
from tenuto.agents.llm.models import ModelLike, build_model, check_model
from tenuto.agents.llm.money import CHEAPER, Terms
from tenuto.agents.llm.options import GIVEN, SAID_ALREADY, check_names, check_options, recipe_of
from tenuto.agents.llm.prices import Price
from tenuto.agents.llm.rehearsal import rehearsal_of
from tenuto.agents.llm.unseen_agents import functions_of, warn_of_unseen
from tenuto.errors import InvalidInput
from tenuto.tasks.lease import Lease
from tenuto.workers.context import Context

__all__ = ["MOST_TURNS", "Agent"]

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
        tells what the model says while it says it, as events (see `streaming`). base_url: of an endpoint
        that speaks as the provider in the model's name does. The others: see `task_agent`.

        Raises `InvalidInput` that names the parameter which makes no sense.
        """
        given = {name: value for name, value in locals().items() if name in GIVEN}  # first: nothing else is bound yet
        check_names(Agent, options, TaskOptions.__annotations__)
        super().__init__("agent" if name is None else name, **options)
        check_options(self.name, given)
        self.max_turns = max_turns
        self._price, self._fallback, self._fallback_price = price, fallback, fallback_price
        self._limit_key, self._base_url, self._stream = limit_key, base_url, stream
        self._context_type, self._deps = context_type, deps
        self._recipe: Mapping[str, Any] | None = recipe_of(self.name, given)
        self._made: pydantic_ai.Agent[Any, Any] | None = None
        self._own_terms: Terms | None = None
        self._keys: dict[str, str] = {}
        self._original: Agent | None = None
        """what this is a copy of, with keys"""

    @classmethod
    def of(cls, agent: pydantic_ai.Agent[Any, Any], **options: Any) -> Self:
        """A task agent around one of Pydantic AI's. options: as for `Agent`, but for what `agent` says itself.

        Raises `InvalidInput` for such an option, for an agent without a name, and for what is none.
        """
        if not isinstance(agent, pydantic_ai.agent.AbstractAgent):
            raise InvalidInput(f"agent must be a pydantic_ai.Agent, not {agent!r:.80}")
        name = options.pop("name", None) or agent.name
        if not name:
            raise InvalidInput("the pydantic_ai.Agent has no name: give it one, tasks are addressed to it")
        if theirs := ", ".join(sorted(SAID_ALREADY & options.keys())):
            raise InvalidInput(f"{theirs} of agent {name!r}: give it to the pydantic_ai.Agent, which has its own")
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
        state |= {"_keys": {**self._keys, **keys}, "_original": self._original or self}
        if self._recipe is not None:
            state |= {"_made": None, "_own_terms": None}
        return other

    def with_model(self, model: Model) -> Self:
        """A copy that asks `model` only. One around a `pydantic_ai.Agent` stays that agent, with the model it has."""
        other = copy.copy(self)
        if self._recipe is not None:
            recipe = {**self._recipe, "model": model}
            made_anew = {"_made": None, "_own_terms": None, "_original": None}
            other.__dict__ |= {**made_anew, "_recipe": recipe, "_fallback": model}
        return other

    @property
    def pydantic_agent(self) -> pydantic_ai.Agent[Any, Any]:
        """The agent that runs the conversation, made when it is first needed. Raises `InvalidInput` for a model that
        cannot be had here, and whatever else prevents that it is made."""
        if self._made is None:
            recipe = dict(self._recipe or {})
            recipe["model"] = build_model(self._models[0], base_url=self._base_url, keys=self._keys)
            recipe["capabilities"] = (*recipe["capabilities"], *self._durability(recipe["capabilities"]))
            self._made = pydantic_ai.Agent(**recipe, deps_type=self._context_type)
        return self._made

    @property
    def _models(self) -> Sequence[ModelLike]:
        """As they were given. Raises `InvalidInput` where none was."""
        model = self._made.model if self._recipe is None and self._made is not None else (self._recipe or {})["model"]
        if model is None:
            raise InvalidInput("it has no model: give it one")
        return [model] if self._fallback is None else [model, self._fallback]

    @property
    def _candidates(self) -> Sequence[Model | str]:
        made = self._made
        if self._recipe is None and made is not None:
            return candidates([made.root_capability])
        return candidates((self._recipe or {})["capabilities"])

    def _durability(self, given: Sequence[AbstractCapability[Any]]) -> Sequence[AbstractCapability[Any]]:
        """The capability that attempts would otherwise bind to the agent each time: most of what their start costs.
        One that streams gets it from them, since it depends on the model that is asked."""
        if self._terms.stream or any(isinstance(each, TenutoDurability) for each in given):
            return ()
        return (TenutoDurability(name=self.name, models=self._terms.others),)

    @property
    def preload(self) -> tuple[str, ...]:
        """See `workers.handler.preload_of`."""
        models = (self._recipe or {}).get("model"), self._fallback, *self._candidates
        return ("tenuto.agents.llm.agent", *(module for model in models for module in rehearsal_of(model)))

    @property
    def _terms(self) -> Terms:
        if self._own_terms is None:
            others = named(self._candidates, partial(build_model, keys=self._keys))
            if self._fallback is not None:
                others = {**others, CHEAPER: build_model(self._fallback, base_url=self._base_url, keys=self._keys)}
            self._own_terms = Terms(
                self.max_turns, self._price, others, self._fallback_price, self._limit_key, self._stream
            )
        return self._own_terms

    def __copy__(self) -> Self:
        other = type(self).__new__(type(self))  # not by `__reduce__`, which may find this very agent
        other.__dict__.update(self.__dict__)
        return other

    def __reduce__(self) -> tuple[Any, ...]:
        # To other processes by name where it can be found there; else what it is made of travels, and it is made anew.
        if self._original is not None:
            return _with_keys, (self._original, self._keys)
        place = found_at(self)
        if place is not None:
            return load, place
        state = self.__dict__ | {"_own_terms": None}
        theirs = None if self._recipe is not None else found_at(self._made)
        if theirs is not None:
            return _around, (type(self), *theirs, state | {"_made": None})
        return _bare, (type(self),), state | ({} if self._recipe is None else {"_made": None})

    def check_able(self) -> None:
        """See `workers.handler.check_able`."""
        with able(self.name):
            for model in self._models:
                check_model(model, base_url=self._base_url, keys=self._keys)
            for candidate in self._candidates:
                check_model(candidate, keys=self._keys)
            if self._recipe is not None:
                check_recipe(self._recipe, self._context_type)
            warn_of_unseen(self.name, self._functions())

    def _functions(self) -> Iterator[tuple[str, Callable[..., Any]]]:
        """The functions that are its tools, by name."""
        if self._recipe is None:
            return functions_of(self._made.toolsets if self._made is not None else ())
        tools = ((each.name, each.function) for each in self._recipe["tools"])
        return chain(tools, functions_of(self._recipe["toolsets"]))

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Self]:
        """Its like for one worker, with models of its own: they are made from what the environment says now, belong to
        the worker's event loop, and hold their connections while it serves. See `workers.handler.serving`."""
        served = copy.copy(self)
        served.__dict__ |= {"_own_terms": None} | ({} if self._recipe is None else {"_made": None})
        async with AsyncExitStack() as stack:
            with able(self.name):
                for model in served.built():
                    await stack.enter_async_context(model)
            yield served

    def built(self) -> Sequence[Model]:
        """Its models, made if they were not yet. Raises `InvalidInput` for one that cannot be had here."""
        models = self.pydantic_agent.model, *self._terms.others.values()
        for name in self._models:  # one that the agent of Pydantic AI makes for each run
            check_model(name, base_url=self._base_url, keys=self._keys)
        return [model for model in models if isinstance(model, Model)]

    async def handle(self, context: Context, lease: Lease) -> Any:
        """Carries out one attempt: see `workers.handler`."""
        return await Attempt(context, self._terms).run(self.pydantic_agent, *self.opening(context, lease))

    def check_payload(self, payload: bytes, where: str) -> None:
        """Raises `InvalidPayload` for what it could not make a conversation of."""
        beginning(read_payload(payload, self._context_type, where).messages, where)

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


def _with_keys(agent: Agent, keys: Mapping[str, str]) -> Agent:
    return agent.with_keys(keys)
