"""The capability through which Pydantic AI's calls go into a task's journal.

    agent = pydantic_ai.Agent("openai:gpt-5", name="analyst", capabilities=[TenutoDurability()])

An agent that Tenuto runs gets it by itself; it only has to be given where an agent's own code calls `agent.run()`
inside a task. Outside a task it does nothing.

It is built on the surface that the library publishes for engines (`pydantic_ai.durable_exec`). Each of the library's
operations becomes one entry of the journal; which one is decided in `attempt.Attempt.unit`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, Literal

from pydantic_ai.agent import AbstractAgent, EventStreamHandler
from pydantic_ai.capabilities import AbstractCapability
from pydantic_ai.durable_exec import (
    JSON_CODEC,
    BaseDurabilityCapability,
    DurabilityEngineSpec,
    DurableOperationId,
    JournalCallableOperationBackend,
    RoleBasedOperationConfig,
)
from pydantic_ai.models import Model, ModelRequestContext
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, RunContext

from tenuto.agents.llm.candidates import candidates
from tenuto.agents.llm.current import ATTEMPT
from tenuto.agents.llm.deferred import answers
from tenuto.agents.llm.prices import MOST_TOKENS
from tenuto.agents.llm.requests import one_by_one
from tenuto.agents.llm.tool_servers import reaching
from tenuto.agents.llm.tools import METADATA, ToolOptions, options_of

__all__ = ["TenutoDurability"]

_PLAIN = ToolOptions()


class TenutoDurability(BaseDurabilityCapability[Any]):
    """Makes a Pydantic AI agent durable inside a task."""

    engine_spec: ClassVar[DurabilityEngineSpec] = DurabilityEngineSpec(
        engine_name="Tenuto",
        durable_unit_noun="step",
        durable_container_noun="task",
        codec=JSON_CODEC,
        wrapped_toolset_kinds=frozenset({"function", "mcp", "dynamic"}),
        toolset_lifecycles={"function": "enter-always", "mcp": "enter-in-durable-unit", "dynamic": "enter-never"},
        journal_discovery=True,
        tool_config_key=METADATA,
    )

    def __init__(
        self,
        *,
        models: Mapping[str, Model] | None = None,
        event_stream_handler: EventStreamHandler[Any] | None = None,
        name: str | None = None,
    ) -> None:
        """models: that runs may be told to ask, by name. event_stream_handler: gets what the model says while it says
        it. name: of the agent, where it has none."""
        super().__init__(models=models, event_stream_handler=event_stream_handler, name=name)
        self.models = dict(models or {})
        self._anew = partial(type(self), event_stream_handler=event_stream_handler, name=name)

    def for_agent(self, agent: AbstractAgent[Any, Any]) -> AbstractCapability[Any]:
        """What `agent` uses of it: it also knows the models of the agent's `ModelFallback`."""
        theirs = [each for each in candidates([agent.root_capability]) if isinstance(each, Model)]
        unknown = [each for each in theirs if all(each is not known for known in self.models.values())]
        if unknown:
            numbered = {f"candidate-{number}": model for number, model in enumerate(unknown, len(self.models))}
            return self._anew(models={**self.models, **numbered}).for_agent(agent)
        return super().for_agent(agent)

    @property
    def in_durable_context(self) -> bool:
        """Whether a task is running."""
        return ATTEMPT.get() is not None

    def get_durable_operation_backend(self) -> _Backend:
        """Where the library's operations go; it asks with each request."""
        return _backend(self.name, self.default_model_id)

    def get_default_run_id(self) -> str | None:
        """One each time that the conversation is begun or gone on with."""
        attempt = ATTEMPT.get()
        return None if attempt is None else attempt.new_run()

    def get_default_conversation_id(self, run_id: str) -> str | None:
        """One per task."""
        attempt = ATTEMPT.get()
        return None if attempt is None else attempt.context.task_id

    def get_wrapper_model(self, model: Model) -> Model | None:
        """What asks in place of a `FallbackModel`."""
        return one_by_one(model)

    async def before_model_request(
        self, ctx: RunContext[Any], request_context: ModelRequestContext
    ) -> ModelRequestContext:
        """A request says how long its response may be: what it may cost at most depends on it."""
        request = await super().before_model_request(ctx, request_context)
        settings = request.model_settings or ModelSettings()
        if ATTEMPT.get() is not None and not settings.get("max_tokens"):
            request.model_settings = settings | ModelSettings(max_tokens=MOST_TOKENS)
        return request

    async def handle_deferred_tool_calls(
        self, ctx: RunContext[Any], *, requests: DeferredToolRequests
    ) -> DeferredToolResults | None:
        """The answers to calls that others answer; as long as one is missing, the task waits in the store."""
        attempt = ATTEMPT.get()
        return None if attempt is None else await answers(attempt, ctx, requests)


class _Backend(JournalCallableOperationBackend[ToolOptions]):
    """Carries out each operation as one entry of the running task's journal."""

    async def execute(
        self,
        *,
        operation_id: DurableOperationId,
        name: str,
        body: Callable[[], Awaitable[object]],
        cache_key: tuple[object, ...],
        config: ToolOptions,
    ) -> object:
        attempt = ATTEMPT.get()
        if attempt is None:
            return await body()
        return await attempt.unit(operation_id, name, reaching(operation_id, body), cache_key, config)


@lru_cache(maxsize=256)
def _backend(name: str, default_model_id: str | None) -> _Backend:
    config = RoleBasedOperationConfig(model=_PLAIN, event=_PLAIN, capability=_PLAIN, tool=_PLAIN, resolve_tool=_options)
    return _Backend(agent_name=name, default_model_id=default_model_id, config=config)


def _options(_: DurableOperationId, tool: object | None, name: str) -> ToolOptions | Literal[False]:
    metadata = getattr(getattr(tool, "tool_def", None), "metadata", None)
    if metadata is not None and metadata.get(METADATA) is False:
        return False
    return options_of(metadata, name)
