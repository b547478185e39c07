"""Providers that do not do what they should: their answers are told apart, and nothing is tried for ever."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import msgspec
import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart
from pydantic_ai.models import known_model_names
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply
from tests.integration.llm.rig import Scripted, ask
from tests.integration.workers.rig import Clock, ended, until, working
from tests.servers.ports import free_port

QUICK = RetryPolicy(max_retries=2, base=1)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_provider_that_only_ever_fails_is_asked_a_few_times(store: Store, status: int) -> None:
    # Given a provider that is down for good
    with Endpoint([[Reply(status=status, retry_after=1)] * 50]) as endpoint:
        model = build_model("openai-chat:gpt-5-mini", base_url=endpoint.openai_url, keys={"openai": "sk-test"})
        agent = Agent("clerk", None, model, retry=QUICK)
        # When an agent works on a task
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        # Then it fails with the last reason, after as many attempts as its policy allows
        assert task.state is State.FAILED
        assert task.error is not None
        assert f"HTTP {status}" in task.error.message
        assert endpoint.count() == 3


async def test_what_was_never_sent_costs_nothing(store: Store) -> None:
    # Given a provider that nobody can connect to, and one that turns everybody away
    with Endpoint([[Reply(status=529)] * 5]) as endpoint:
        for url in (f"http://127.0.0.1:{free_port()}/v1", endpoint.openai_url):
            model = build_model("openai-chat:gpt-5-mini", base_url=url, keys={"openai": "sk-test"})
            agent = Agent("clerk", None, model, retry=QUICK)
            # When an agent tries
            async with working(store, agent):
                task_id = await ask(store, agent)
                await ended(store, task_id)
            # Then every try is in the ledger, at nothing
            entries = await store.ledger(task_id)
            assert [entry.counted.money for entry in entries] == [0, 0, 0]


async def test_a_model_of_several_tells_what_each_of_them_said(store: Store) -> None:
    with Endpoint([[Reply(status=401)] * 2]) as endpoint:
        one = build_model("openai-chat:gpt-5-mini", base_url=endpoint.openai_url, keys={"openai": "sk-test"})
        agent = Agent("clerk", None, FallbackModel(one, one), retry=QUICK)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
        assert task.error is not None
        assert task.error.message.count("HTTP 401") == 2
        assert endpoint.count() == 2


async def test_a_provider_may_say_when_to_come_back_as_a_date(store: Store, clock: Clock) -> None:
    # Given a provider that names a time in five minutes
    error = ModelHTTPError(
        429, "m", headers={"Retry-After": format_datetime(datetime.now(UTC) + timedelta(seconds=300))}
    )
    script = Scripted("here")

    async def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        if not script.asked:
            script.asked.append(1)
            raise error
        return ModelResponse(parts=[TextPart("here")])

    agent = Agent("clerk", None, FunctionModel(answer), retry=QUICK)
    # When an agent asks
    async with working(store, agent):
        task_id = await ask(store, agent)
        task = await until(store, task_id, lambda task: task.state is State.SCHEDULED)
        # Then it comes back then
        assert task.run_at is not None
        assert task.run_at - clock() > 200_000
        clock.forward(301)
        assert (await ended(store, task_id)).state is State.DONE


async def test_a_key_that_a_provider_repeats_is_kept_nowhere(store: Store) -> None:
    # Given a provider that shows the key which it refuses
    secret = "sk-ant-api03-1234567890abcdef_-x"
    with Endpoint([Reply(status=401, error=f"Incorrect API key provided: {secret}.")]) as endpoint:
        model = build_model("openai-chat:gpt-5-mini", base_url=endpoint.openai_url, keys={"openai": secret})
        agent = Agent("clerk", None, model)
        # When an agent uses it
        async with working(store, agent):
            task_id = await ask(store, agent)
            task = await ended(store, task_id)
    # Then people learn what is wrong, and no row has the key
    assert task.error is not None
    assert "Incorrect API key provided: sk-***" in task.error.message
    events = (await store.events(task_id=task_id)).events
    assert secret.encode() not in msgspec.json.encode((task, events, await store.journal(task_id)))


async def test_a_model_that_its_provider_does_not_know_is_told_with_the_one_that_may_be_meant(store: Store) -> None:
    # Given a provider that does not have the model
    known = next(name for name in known_model_names() if name.startswith("openai:"))
    with Endpoint([[Reply(status=404)]]) as endpoint:
        model = build_model(f"{known}x", base_url=endpoint.openai_url, keys={"openai": "sk-test"})
        # When an agent asks for it
        async with working(store, agent := Agent("clerk", None, model, retry=QUICK)):
            task = await ended(store, await ask(store, agent))
    # Then its task fails at once, and says what may be meant
    assert (task.state, task.attempt) == (State.FAILED, 1)
    assert task.error is not None
    assert "answered with HTTP 404: " in task.error.message
    assert f" (did you mean {known!r}?)" in task.error.message
