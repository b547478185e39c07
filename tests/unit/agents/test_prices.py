"""Prices: what a request costs never exceeds what was set aside for as many tokens."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pydantic_ai.messages import ModelResponse
from pydantic_ai.usage import RequestUsage

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.agents.llm.prices import most, spent, tier_of
from tenuto.errors import InvalidInput
from tenuto.tasks.money import Amount


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
        used = spent(model, None, ModelResponse([], usage=usage, model_name=model.model_name))
        assert used is not None
        assert used.money <= bound.money


def test_what_stays_in_the_cache_for_an_hour_is_set_aside_at_its_own_price() -> None:
    model = build_model("anthropic:claude-haiku-4-5", keys={"anthropic": "sk-test"})
    usage = RequestUsage(input_tokens=10_000, output_tokens=0, cache_write_tokens=10_000, cache_write_1h_tokens=10_000)
    used = spent(model, None, ModelResponse([], usage=usage, model_name="claude-haiku-4-5-20251001"))
    # At $2 for a million tokens, where plain input is $1
    assert used == Amount(20_000_000, 10_000, 1)
    assert most(model, None, 10_000, 0, long=True)[0] == used
    assert most(model, None, 10_000, 0)[0].money < used.money


@pytest.mark.parametrize(
    ("settings", "factor"),
    [({}, 1), ({"service_tier": "flex"}, 1), ({"openai_service_tier": "priority"}, 1.8), ({"service_tier": "gold"}, 0)],
)
def test_a_service_tier_is_set_aside_at_its_own_price_or_has_none(settings: Any, factor: float) -> None:
    model = build_model("openai:gpt-5-mini", keys={"openai": "sk-test"})
    usual, _ = most(model, None, 1_000_000, 0)
    bound, priced = most(model, None, 1_000_000, 0, tier=tier_of(settings))
    assert priced == (factor > 0)
    assert bound.money == usual.money * factor


def test_what_the_provider_does_not_say_is_not_taken_for_nothing() -> None:
    model = build_model("openai:gpt-5-mini", keys={"openai": "sk-test"})
    for usage in (RequestUsage(), RequestUsage(unmeasured_requests=1)):
        assert spent(model, None, ModelResponse([], usage=usage)) is None
        assert spent(model, (1, 1), ModelResponse([], usage=usage)) is None


def test_the_answering_model_and_what_the_provider_says_of_costs_decide() -> None:
    model = build_model("openai:gpt-5-nano", keys={"openai": "sk-test"})
    usage = RequestUsage(input_tokens=1_000_000, output_tokens=0)
    # $0.25 for a million tokens of the model that has answered
    used = spent(model, None, ModelResponse([], usage=usage, model_name="gpt-5-mini-2025-08-07"))
    assert used == Amount(250_000_000, 1_000_000, 1)
    usage.cost = Decimal("0.5")
    used = spent(model, None, ModelResponse([], usage=usage, model_name="gpt-5-mini"))
    assert used == Amount(500_000_000, 1_000_000, 1)


@pytest.mark.parametrize("price", [(-1, 0), (float("nan"), 1), (float("inf"), 1), (1,), "12", ("1", "2")])
def test_a_price_that_makes_no_sense_is_refused_where_it_is_given(price: Any) -> None:
    for field in ("price", "fallback_price"):
        with pytest.raises(InvalidInput, match=f"{field} of agent 'clerk' must be two numbers"):
            Agent("clerk", **{field: price})
