"""One request to a model: announced with its most set aside, sent, and counted.

A `FallbackModel` may ask several models for it. Each is announced when its turn comes, as a call of its own:

    turn-4/model#0     the first
    turn-4/model#0~1   the second, where the first has failed or its response was not accepted

A response that was not accepted is recorded before the next model is asked, so that it is not paid for again:

    turn-4/model#0~1@rejected   {"model": "openai:gpt-5-mini", "read": 3, "response": {...}}
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.durable_exec import JSON_CODEC
from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.failures import failed
from tenuto.agents.llm.model_errors import is_free, was_reached
from tenuto.agents.llm.money import make_room, not_sent, reservation, settlement, unwrapped
from tenuto.tasks.money import Reserve, Settle
from tenuto.tasks.outcome import Step, StepState
from tenuto.tasks.values import joined
from tenuto.workers.interruption import HandedBack
from tenuto.workers.journal import NotGranted
from tenuto.workers.scopes import NOTE, Place

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt
    from tenuto.agents.llm.model_calls import ModelParams

__all__ = ["Request", "one_by_one", "who_said"]

_REJECTED = "@rejected"
"""Ends the journal's key of a response that was not accepted."""


class Request:
    """A request at `place` of the journal."""

    def __init__(
        self, attempt: Attempt, place: Place, params: ModelParams, tokens_in: int, read: int | None, *, fetches: bool
    ) -> None:
        """tokens_in: how many it takes in at most. read: how far the inbox was read for it; where steering has come
        since, the turn begins again (`Unread`). fetches: it asks whether a response is there that is being made, which
        costs nothing and is not announced."""
        self.attempt = attempt
        self.place = place
        self.fetches = fetches
        self.call = ""
        """what was announced last; empty: nothing yet"""
        self.model = params.model
        """whom it was announced for"""
        self._params = params
        self._tokens_in = tokens_in
        self._read = read
        self._asked = 0
        self._number = 0
        self._rejection = ""
        self._answer: ModelResponse | None = None
        self._recalled = False
        """what was said last is on record already"""

    async def made(self, body: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """The response; `body` asks the library for it. Raises what the model raises, `BudgetExceeded`, and what leaves
        the task waiting in the store."""
        if isinstance(unwrapped(self._params.model), FallbackModel):
            token = _REQUEST.set(self)
            try:
                response = await body()
            except Exception:
                await self._rejected()
                raise
            finally:
                _REQUEST.reset(token)
        elif self.fetches:
            response = await body()
        else:
            self._begin(self.model)
            async with self.asking(self.model):
                response = await body()
        return cast("dict[str, Any]", response)

    async def next(self, model: Model) -> ModelResponse | None:
        """`model` is the next one to be asked. What it has said in an earlier attempt, where that was not accepted."""
        await self._rejected()
        self._begin(model)
        journal = self.attempt.journal
        known = journal.note(self._rejection)
        value = None if known is None else await journal.value(known)
        if value is None or (value["model"], value["read"]) != (model.model_id, self._read):
            return None
        self._recalled = True
        response: ModelResponse = JSON_CODEC.load(ModelResponse, value["response"])
        return response

    @asynccontextmanager
    async def asking(self, model: Model) -> AsyncIterator[None]:
        """Announces the request to `model`, the next one, which is made inside."""
        self._recalled = False
        reserve = await self._announce()
        try:
            yield
        except Exception as error:
            if await failed(self.attempt, model, error) and is_free(error):
                await self._settle(not_sent(reserve, reached=was_reached(error)))
            raise

    def answered(self, response: ModelResponse) -> None:
        """What the model that was asked has said; whether that is accepted is not known yet."""
        self._answer = response

    def settlement(self, response: ModelResponse) -> Settle | None:
        """What it has cost to get `response`; None where the provider does not say, or where that is on record."""
        return None if self._recalled else settlement(self.attempt, self.call, self.model, response)

    def _begin(self, model: Model) -> None:
        """`model` is asked next. A call of the ledger is one request, also where the attempt begins the turn again."""
        key = self.place.key
        self._number = max(self._asked, self.attempt.announced[key])
        self.model = model
        self.call = f"{key}~{self._number}" if self._number else key
        self._rejection = (f"{key}~{self._asked}" if self._asked else key) + _REJECTED
        self._asked += 1

    async def _announce(self) -> Reserve:
        """The journal knows of the call, and its most is set aside: what that is."""
        reserve, why = reservation(self.attempt, self.call, self.model, self._params, self._tokens_in)
        first = self._asked == 1
        intent = (Step(self.place.key, self.place.position, StepState.STARTED),) if first else ()
        journal = self.attempt.journal
        while True:
            try:
                await journal.commit(self.place.scope, intent, reserves=(reserve,), read=self._read if first else None)
            except NotGranted as refused:
                await make_room(self.attempt, refused.refusal, why)
            except HandedBack:  # the task was paused meanwhile: the request that was to come now costs nothing
                with suppress(HandedBack):
                    await journal.commit(self.attempt.scope, (), settles=(not_sent(reserve),))
                raise
            else:
                self.attempt.announced[self.place.key] = self._number + 1
                return reserve

    async def _rejected(self) -> None:
        """Records the last answer, where there is one, with what it has cost: it was not accepted."""
        answer, self._answer = self._answer, None
        if answer is None:
            return
        settle = self.settlement(answer)
        place = replace(self.place, key=self._rejection, position=NOTE)
        said = JSON_CODEC.dump(ModelResponse, answer)
        value = {"model": self.model.model_id, "read": self._read, "response": joined(said)}
        await self.attempt.journal.settle(place, value, settles=() if settle is None else (settle,))

    async def _settle(self, settle: Settle) -> None:
        await self.attempt.journal.commit(self.place.scope, (), settles=(settle,))


_REQUEST: ContextVar[Request | None] = ContextVar("tenuto_request", default=None)
"""The request that a `FallbackModel` is making."""


def one_by_one(model: Model) -> Model | None:
    """`model`, if it is a `FallbackModel` that is making a request, whatever is wrapped around it: each of its models
    is announced before it is asked. None for any other."""
    if _REQUEST.get() is None:
        return None
    if isinstance(model, FallbackModel):
        return _OneByOne(model)
    inner = one_by_one(model.wrapped) if isinstance(model, WrapperModel) else None
    if inner is None:
        return None
    outer = copy.copy(cast(WrapperModel, model))
    outer.wrapped = inner
    return outer


@dataclass(init=False)
class _OneByOne(WrapperModel):
    """A `FallbackModel` whose models are announced."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        return await _announcing(self.wrapped).request(messages, model_settings, model_request_parameters)

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        whole = _announcing(self.wrapped)
        async with whole.request_stream(messages, model_settings, model_request_parameters, run_context) as stream:
            yield stream


@dataclass(init=False)
class _Announced(WrapperModel):
    """One of its models."""

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        request = _request_for(messages)
        if request is None:
            return await self.wrapped.request(messages, model_settings, model_request_parameters)
        if (rejected := await request.next(self.wrapped)) is not None:
            return rejected
        async with request.asking(self.wrapped):
            response = await self.wrapped.request(messages, model_settings, model_request_parameters)
        request.answered(response)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncIterator[StreamedResponse]:
        asked = self.wrapped.request_stream(messages, model_settings, model_request_parameters, run_context)
        request = _request_for(messages)
        if request is None:
            async with asked as stream:
                yield stream
            return
        await request.next(self.wrapped)
        async with request.asking(self.wrapped), asked as stream:
            yield stream


def who_said(model: Model, response: ModelResponse) -> Model:
    """Which model has given `response`: of a `FallbackModel` one of its own."""
    model = unwrapped(model)
    if not isinstance(model, FallbackModel):
        return model
    known = [who_said(each, response) for each in model.models]
    theirs = [each for each in known if each.system == response.provider_name] or known
    return next((each for each in theirs if each.model_name == response.model_name), theirs[0])


def _announcing(model: Model) -> FallbackModel:
    """A copy whose models are announced; those of a `FallbackModel` in it, too."""
    whole = copy.copy(cast(FallbackModel, model))
    whole.models = [_announcing(each) if isinstance(each, FallbackModel) else _Announced(each) for each in whole.models]
    return whole


def _request_for(messages: list[ModelMessage]) -> Request | None:
    """The request to be announced; None where it only asks for a response that is being made."""
    request = _REQUEST.get()
    last = messages[-1] if messages else None
    if request is not None and request.fetches and isinstance(last, ModelResponse) and last.state == "suspended":
        return None
    return request
