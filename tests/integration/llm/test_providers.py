"""Providers that do not do what they should: their answers are told apart, and nothing is tried for ever."""

from __future__ import annotations

import pytest

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.stores.base import Store
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.testing import Endpoint, Reply
from tests.integration.llm.rig import ask
from tests.integration.workers.rig import ended, working

QUICK = RetryPolicy(max_retries=2, base=1)


@pytest.mark.parametrize("status", [429, 500, 503, 529])
async def test_a_provider_that_only_ever_fails_is_asked_a_few_times(store: Store, status: int) -> None:
    # Given a provider that is down for good
    with Endpoint([[Reply(status=status, retry_after=0.01)] * 50]) as endpoint:
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
