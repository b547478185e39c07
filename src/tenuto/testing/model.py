"""A model for agents of Pydantic AI that says what a script tells it to: no HTTP, no waiting.

    from tenuto.testing import Reply, ScriptedModel, ToolCall

    model = ScriptedModel([Reply(tools=[ToolCall("weather", {"city": "Oslo"})]), "It rains in Oslo."])
    result = await pydantic_ai.Agent(model, tools=[weather]).run("How is the weather?")
    assert model.count(turn=2) == 1

It takes the scripts of `Endpoint`, and raises for each error what Pydantic AI raises for a provider's. Use it where
many turns are to pass in no time, and the endpoint where the wire matters too.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any, NoReturn, TypeAlias

from tenuto.errors import MissingExtra

try:
    from pydantic_ai import exceptions
    from pydantic_ai.messages import (
        CompactionPart,
        FinishReason,
        ModelMessage,
        ModelRequest,
        ModelResponse,
        ModelResponsePart,
        TextPart,
        ThinkingPart,
        ToolCallPart,
    )
    from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters, StreamedResponse
    from pydantic_ai.models.function import AgentInfo, FunctionModel
    from pydantic_ai.settings import ModelSettings
    from pydantic_ai.tools import RunContext
    from pydantic_ai.usage import RequestUsage
except ImportError as error:
    raise MissingExtra(
        f"the scripted model of tenuto.testing needs Pydantic AI, which is not part of this installation ({error}): "
        "install tenuto[llm]",
        extra="llm",
    ) from None

from tenuto.testing.answer import Answer, Stop, answer_to, estimate
from tenuto.testing.calls import Call, CallLog, matching
from tenuto.testing.gates import Gates
from tenuto.testing.history import request_from
from tenuto.testing.openai_errors import openai_error
from tenuto.testing.replay import events_of
from tenuto.testing.script import Answers, Reply, Script
from tenuto.testing.wire import Refused

__all__ = ["ScriptedModel"]

_STOPS: dict[Stop, FinishReason] = {
    "stop": "stop",
    "tools": "tool_call",
    "length": "length",
    "filter": "content_filter",
    "pause": "stop",
}
_Category: TypeAlias = type[
    exceptions.ModelRateLimitError
    | exceptions.ModelQuotaExceededError
    | exceptions.ModelUnavailableError
    | exceptions.ModelServerError
    | exceptions.ModelRequestRejectedError
]
_CATEGORIES: dict[int, _Category] = {
    401: exceptions.ModelAuthenticationError,
    403: exceptions.ModelAuthenticationError,
    404: exceptions.ModelNotFoundError,
    429: exceptions.ModelRateLimitError,
    503: exceptions.ModelOverloadedError,
    529: exceptions.ModelOverloadedError,
}
_CODES: dict[str, _Category] = {
    "context_length_exceeded": exceptions.ModelContextWindowExceededError,
    "insufficient_quota": exceptions.ModelQuotaExceededError,
}

_streamed: ContextVar[bool] = ContextVar("streamed", default=False)


class ScriptedModel(FunctionModel):
    """See above. A copy that travels to another process counts its own calls."""

    def __init__(self, script: Script = (), *, name: str = "scripted", provider: str = "scripted") -> None:
        """`name` and `provider`: what it goes by; with those of a real model, prices are counted as that one's.

        Raises `InvalidInput` for what is no script.
        """
        super().__init__(self._respond, model_name=name)
        self._given = (script, name, provider)
        self._answers, self._log, self._gates = Answers(script), CallLog(), Gates()
        self._nonce = secrets.token_hex(3)

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, self._given

    @property
    def system(self) -> str:
        """The provider's name."""
        return self._given[2]

    @property
    def calls(self) -> list[Call]:
        """The calls so far, in the order in which they came: a copy."""
        return self._log.all()

    def count(self, contains: str = "", **fields: Any) -> int:
        """How many calls have these fields, see `Call`, and `contains` in what was said."""
        return len(matching(self.calls, contains, **fields))

    def wait_for(self, calls: int = 1, *, timeout: float = 30.0, **fields: Any) -> list[Call]:
        """Blocks until so many calls have these fields, and gives them. In a coroutine, use `asyncio.to_thread`.

        Raises `WaitTimeout` after `timeout` seconds.
        """
        return self._log.wait_for(calls, timeout, **fields)

    def replace(self, script: Script) -> None:
        """From now on `script` answers. Raises `InvalidInput` for what is no script."""
        self._answers = Answers(script)

    def release(self, name: str) -> None:
        """Lets all replies go that are held under `name`, now and later."""
        self._gates.open(name)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """The scripted answer in parts."""
        token = _streamed.set(True)
        try:
            response = await self.request(messages, model_settings, model_request_parameters)
        finally:
            _streamed.reset(token)
        events = list(events_of(response, model_request_parameters))
        yield CompletedStreamedResponse(
            response, model_request_parameters=model_request_parameters, replay_events=events
        )

    async def count_tokens(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> RequestUsage:
        """The estimate that an answer would be charged for."""
        info = AgentInfo(
            function_tools=model_request_parameters.function_tools,
            allow_text_output=model_request_parameters.allow_text_output,
            output_tools=model_request_parameters.output_tools,
            model_settings=model_settings,
            model_request_parameters=model_request_parameters,
            instructions=next((one.instructions for one in reversed(messages) if isinstance(one, ModelRequest)), None),
        )
        return RequestUsage(input_tokens=estimate(request_from(messages, info, self.model_name, stream=False)))

    async def _respond(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        call = self._log.add("", {})
        try:
            return await self._answered(call, messages, info)
        except asyncio.CancelledError:
            self._log.note(call, outcome="gone")
            raise
        except exceptions.AgentRunError as error:
            self._log.note(call, outcome="refused", error=str(error))
            raise

    async def _answered(self, call: Call, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        try:
            request = request_from(messages, info, self.model_name, stream=_streamed.get())
        except Refused as refused:
            self._fail(Reply(status=400, error=refused.message), call)
        request, reply = self._answers.reply_to(request)
        self._log.understood(call, request)
        await self._gates.wait(reply)
        if reply.status >= 400 or reply.error_after_events is not None:
            self._fail(reply, call)
        answer = answer_to(request, reply, f"{self._nonce}{call.number:06}")
        self._log.note(call, usage=answer.usage)
        if reply.malformed or reply.body is not None:
            raise exceptions.ModelAPIError(self.model_name, "Failed to decode response as JSON")
        if reply.cut_after_bytes is not None or reply.cut_after_events is not None:
            raise exceptions.ModelConnectionError(self.model_name, "the connection was dropped", phase="read")
        self._log.note(call, status=200, outcome="answered")
        return self._response(answer)

    def _fail(self, reply: Reply, call: Call) -> NoReturn:
        status = reply.status if reply.status >= 400 else 500
        body = openai_error(Refused(reply.error, status=status, code=reply.code))["error"]
        other: _Category = exceptions.ModelServerError if status >= 500 else exceptions.ModelRequestRejectedError
        self._log.note(call, status=status)
        raise exceptions.ModelHTTPError.for_category(
            _CODES.get(body["code"]) or _CATEGORIES.get(status, other),
            status_code=status,
            model_name=self.model_name,
            body=body,
            provider_error_code=body["code"],
            retry_after=reply.retry_after,
        )

    def _response(self, answer: Answer) -> ModelResponse:
        parts: list[ModelResponsePart] = []
        if answer.compaction:
            parts.append(CompactionPart(answer.compaction, provider_name=self.system))
        if answer.thinking:
            parts.append(ThinkingPart(answer.thinking))
        if answer.text or not answer.calls:
            parts.append(TextPart(answer.text))
        parts += [ToolCallPart(call.name, call.json, tool_call_id=call.id) for call in answer.calls]
        used = answer.usage
        return ModelResponse(
            parts,
            usage=RequestUsage(
                input_tokens=used.input,
                output_tokens=used.output,
                cache_read_tokens=used.cached,
                cache_write_tokens=used.cache_write,
            ),
            model_name=self.model_name,
            provider_name=self.system,
            provider_response_id=f"scripted-{answer.number}",
            finish_reason=_STOPS[answer.stop],
        )


def _restored(script: Script, name: str, provider: str) -> ScriptedModel:
    return ScriptedModel(script, name=name, provider=provider)
