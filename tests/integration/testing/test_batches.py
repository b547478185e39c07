"""Batches of Anthropic's Messages, as its SDK asks for them."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic import BadRequestError

from tenuto.testing import Endpoint, Reply, Request
from tests.integration.testing.clients import anthropic_sdk


def entry(custom_id: str, said: str = "Go", model: str = "known") -> Any:
    """One request of a batch."""
    params = {"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": said}]}
    return {"custom_id": custom_id, "params": params}


async def test_what_fails_in_a_script_is_told_with_the_request_that_it_failed_for() -> None:
    # Given a script that fails, and an endpoint that knows one model
    def answer(request: Request) -> Reply:
        if "fail" in str(request.body):
            raise KeyError("mistake")
        return Reply(text="yes")

    async with Endpoint(answer, models=["known"]) as endpoint, anthropic_sdk(endpoint) as client:
        # When a batch has requests of all kinds
        asked = [entry("good"), entry("bad", "fail"), entry("strange", model="unknown")]
        batch = await client.messages.batches.create(requests=asked)
        results = {each.custom_id: each.result async for each in await client.messages.batches.results(batch.id)}
    # Then each has its own result, and its call says what was asked for
    assert results["good"].type == "succeeded"
    assert "the script's function failed: KeyError: 'mistake'" in str(results["bad"])
    assert "not_found_error" in str(results["strange"])
    assert [call.outcome for call in endpoint.calls] == ["answered", "refused", "refused"]
    assert [(call.model, call.turn) for call in endpoint.calls] == [("known", 1), ("known", 1), ("unknown", 1)]


async def test_a_batch_that_makes_no_sense_is_refused() -> None:
    async with Endpoint(["yes"]) as endpoint, anthropic_sdk(endpoint) as client:
        with pytest.raises(BadRequestError, match="requests"):
            await client.post("/v1/messages/batches", body={}, cast_to=object)
    assert endpoint.count() == 0
