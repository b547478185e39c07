"""What an SDK leaves to its first request, done before workers are forked.

The SDKs of the providers make the schemas of their types when they are first needed: half a second of processor time
and more, in each process. In the fork server (`supervisor.fork_server`) it is spent once, and the workers share the
memory. So each function here has a model say two things, over no network: the answers are written below.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx2
import pydantic_ai
from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model

__all__ = ["anthropic", "openai_chat", "openai_responses", "rehearsal_of"]

_KEY = "rehearsal"
_NAME = "rehearsal"
_CALL = {"name": "cue", "arguments": "{}"}
_ECHO = {
    "status": "completed",
    "background": False,
    "instructions": "",
    "max_output_tokens": 1,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [{"type": "function", "name": "cue", "parameters": {}, "strict": False}],
    "top_p": 1.0,
    "truncation": "disabled",
}
"""What a response of OpenAI repeats of its request: each field that is there has a schema of its own."""


_REHEARSALS = {
    "openai": "openai_responses",
    "openai-responses": "openai_responses",
    "openai-chat": "openai_chat",
    "anthropic": "anthropic",
    "OpenAIResponsesModel": "openai_responses",
    "OpenAIChatModel": "openai_chat",
    "AnthropicModel": "anthropic",
}
"""By the begin of a model's name, or by the class of one that was built already."""


def rehearsal_of(model: Any) -> tuple[str, ...]:
    """What is done beforehand for a model, as `workers.handler.preload_of` names it; nothing where nothing is slow."""
    found = _REHEARSALS.get(model.partition(":")[0] if isinstance(model, str) else type(model).__name__)
    return () if found is None else (f"{__name__}:{found}",)


def openai_responses() -> None:
    """Two turns of OpenAI's Responses API."""
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def answer(item: Mapping[str, Any]) -> Mapping[str, Any]:
        usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        whole = {"id": "1", "object": "response", "created_at": 0, "model": _NAME, "output": [item]}
        return _ECHO | whole | {"usage": usage | details}

    said = {"type": "output_text", "text": "done", "annotations": [], "logprobs": []}
    answers = (
        answer({"type": "function_call", "id": "1", "call_id": "1", "status": "completed", **_CALL}),
        answer({"type": "message", "id": "2", "role": "assistant", "status": "completed", "content": [said]}),
    )
    _rehearse(
        lambda client: OpenAIResponsesModel(_NAME, provider=OpenAIProvider(api_key=_KEY, http_client=client)), answers
    )


def openai_chat() -> None:
    """Two turns of OpenAI's Chat Completions, which other providers speak as well."""
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    def answer(reason: str, **message: Any) -> Mapping[str, Any]:
        choice = {
            "index": 0,
            "finish_reason": reason,
            "message": {"role": "assistant", "content": None, "annotations": []} | message,
        }
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        whole = {"id": "1", "object": "chat.completion", "created": 0, "model": _NAME, "service_tier": "default"}
        return whole | {"choices": [choice], "usage": usage}

    answers = (
        answer("tool_calls", tool_calls=[{"id": "1", "type": "function", "function": _CALL}]),
        answer("stop", content="done"),
    )
    _rehearse(lambda client: OpenAIChatModel(_NAME, provider=OpenAIProvider(api_key=_KEY, http_client=client)), answers)


def anthropic() -> None:
    """Two turns of Anthropic's Messages."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    def answer(reason: str, part: Mapping[str, Any]) -> Mapping[str, Any]:
        whole = {"id": "1", "type": "message", "role": "assistant", "model": _NAME, "stop_sequence": None}
        usage = {"input_tokens": 1, "output_tokens": 1, "cache_read_input_tokens": 0, "service_tier": "standard"}
        return whole | {"stop_reason": reason, "content": [part], "usage": usage}

    answers = (
        answer("tool_use", {"type": "tool_use", "id": "1", "name": "cue", "input": {}}),
        answer("end_turn", {"type": "text", "text": "done"}),
    )
    _rehearse(
        lambda client: AnthropicModel(_NAME, provider=AnthropicProvider(api_key=_KEY, http_client=client)), answers
    )


def _rehearse(model: Callable[[httpx2.AsyncClient], Model], answers: tuple[Mapping[str, Any], ...]) -> None:
    asyncio.run(_conversation(model, iter(answers)))


async def _conversation(model: Callable[[httpx2.AsyncClient], Model], answers: Iterator[Mapping[str, Any]]) -> None:
    async def cue() -> str:
        """Asks for the second turn."""
        return "next"

    def reply(_: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=next(answers))

    async with httpx2.AsyncClient(transport=httpx2.MockTransport(reply), trust_env=False) as client:
        agent = pydantic_ai.Agent(model(client), tools=[cue])
        run = await agent.run("begin")
    JSON_CODEC.load(ModelResponse, JSON_CODEC.dump(ModelResponse, run.response))
    JSON_CODEC.dump(list[ModelMessage], run.all_messages())
