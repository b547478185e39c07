"""Prices: what a request costs never exceeds what was set aside for as many tokens."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic_ai.usage import RequestUsage

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.prices import most, spent
from tenuto.errors import InvalidInput


@pytest.mark.parametrize("name", ["anthropic:claude-haiku-4-5", "anthropic:claude-sonnet-4-5", "openai:gpt-5-mini"])
@pytest.mark.parametrize("tokens_in", [0, 10_000, 300_000])
def test_wherever_the_provider_puts_the_input_it_costs_no_more_than_was_set_aside(name: str, tokens_in: int) -> None:
    # Given the most that a request may use
    model = build_model(name, keys={"openai": "sk-test", "anthropic": "sk-test"})
    bound, priced = most(model, None, tokens_in, 1_000)
    assert priced
    # When all of its input is read from, written into, or kept out of the cache
    for read, written in ((0, 0), (tokens_in, 0), (0, tokens_in)):
        usage = RequestUsage(
            input_tokens=tokens_in, output_tokens=1_000, cache_read_tokens=read, cache_write_tokens=written
        )
        # Then it costs no more
        assert spent(model, None, usage).money <= bound.money


@pytest.mark.parametrize("price", [(-1, 0), (float("nan"), 1), (float("inf"), 1), (1,), "12", ("1", "2")])
def test_a_price_that_makes_no_sense_is_refused_where_it_is_given(price: Any) -> None:
    for field in ("price", "fallback_price"):
        with pytest.raises(InvalidInput, match=f"{field} of agent 'clerk' must be two numbers"):
            Agent("clerk", **{field: price})
