"""What a call to a model costs: its most before it is sent, what it really cost afterwards.

Prices come from `genai-prices`, which knows the public price lists; for other models, an agent says its own
(`Agent(price=(0.10, 0.40))`: US dollars per million tokens in and out; a model on your own machine may cost nothing).

The most that a request can cost: the input tokens of the last request and one token for each byte that was added since
(no tokenizer makes more tokens of a text than it has bytes), at the price of input that goes into the provider's cache
where that is dearer (for an hour, where the request asks for that), and `max_tokens` of output, which is therefore
always set; in the service tier that the request asks for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from typing import Any

from genai_prices import Usage, calc_price
from genai_prices.types import PriceCalculation
from msgspec.structs import replace
from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from tenuto.errors import InvalidInput
from tenuto.tasks.money import DOLLAR, Amount

__all__ = ["MOST_TOKENS", "Price", "check_price", "most", "spent", "tier_of"]

MOST_TOKENS = 8_192
"""Tokens that a response may have, unless the agent's model settings say otherwise."""

Price = tuple[float, float]
"""US dollars for a million tokens: in, out."""

Tier = Mapping[str, Any]
"""What a price may depend on beside the usage, as `genai-prices` names it."""

_USUAL = frozenset({None, "auto", "default", "standard", "standard_only", "flex"})
"""Service tiers that cost no more than the usual one."""

_MILLION = 1_000_000


def check_price(price: Any, what: str) -> None:
    """Raises `InvalidInput` that names `what`, unless `price` is a `Price` or None."""
    if price is None:
        return
    if not (isinstance(price, tuple | list) and len(price) == 2 and all(map(_is_dollars, price))):
        raise InvalidInput(f"{what} must be two numbers, US dollars per million tokens in and out, not {price!r}")


def _is_dollars(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def most(
    model: Model, own: Price | None, tokens_in: int, tokens_out: int, *, long: bool = False, tier: Tier | None = None
) -> tuple[Amount, bool]:
    """The most that a request with so many tokens uses, and whether its price is known.

    long: input is kept in the provider's cache for an hour. tier: what the request asks for beside the usual service.
    """
    bound = Amount(0, tokens_in + tokens_out, 1)
    if own is not None:
        return replace(bound, money=_own(own, tokens_in, tokens_out)), True
    usage = Usage(input_tokens=tokens_in, output_tokens=tokens_out)
    plain = _calculated(model.model_name, model, usage, tier)
    if plain is None:
        return bound, False
    if tier is not None:
        usual = _calculated(model.model_name, model, usage)
        if usual is None or usual.model_price == plain.model_price:  # no list says what that tier costs
            return bound, False
    prices = [plain.total_price]
    # Providers may put all of the input into their cache, which some of them charge more for than for plain input.
    if any("cache_write" in name and price is not None for name, price in vars(plain.model_price).items()):
        puts: list[dict[str, int]] = [{"cache_write_tokens": tokens_in}]
        if long:
            puts.append({"cache_write_tokens": tokens_in, "cache_write_1h_tokens": tokens_in})
        dearer = (_calculated(model.model_name, model, usage + Usage(**put), tier) for put in puts)
        prices += [each.total_price for each in dearer if each is not None]
    return replace(bound, money=_nano(max(prices))), True


def spent(model: Model, own: Price | None, response: ModelResponse) -> Amount | None:
    """What a request has used; None where the provider does not say."""
    usage = response.usage
    if usage.unmeasured_requests or not usage.has_values():
        return None
    used = Amount(0, usage.input_tokens + usage.output_tokens, 1)
    if own is not None:
        return replace(used, money=_own(own, usage.input_tokens, usage.output_tokens))
    if usage.cost is not None:
        return replace(used, money=_nano(usage.cost))
    try:
        for name in dict.fromkeys((response.model_name, model.model_name)):
            price = _calculated(name, model, usage, response.provider_details) if name else None
            if price is not None:
                return replace(used, money=_nano(price.total_price))
    except ValueError:  # the provider's counts contradict each other
        return None
    return used


def tier_of(settings: ModelSettings | None) -> Tier | None:
    """What a request asks for beside the usual service, as price lists name it."""
    given: Mapping[str, Any] = settings or {}
    families = ("openai_", "anthropic_", "google_cloud_", "bedrock_", "")
    tier = next((each for family in families if (each := given.get(f"{family}service_tier")) is not None), None)
    if given.get("anthropic_speed") == "fast":
        return {"speed": "fast"}
    return None if tier in _USUAL else {"service_tier": str(tier)}


def _own(own: Price, tokens_in: int, tokens_out: int) -> int:
    return _nano((tokens_in * Decimal(str(own[0])) + tokens_out * Decimal(str(own[1]))) / _MILLION)


def _calculated(name: str, model: Model, usage: Any, context: Tier | None = None) -> PriceCalculation | None:
    """What the lists say; None for a model that they do not know."""
    for where in ({"provider_api_url": getattr(model, "base_url", None)}, {"provider_id": model.system}):
        if all(where.values()):
            try:
                return calc_price(usage, name, price_context=context, **where)
            except LookupError:  # neither this address nor this provider's models are known
                continue
    return None


def _nano(dollars: Decimal) -> int:
    return int((dollars * DOLLAR).to_integral_value(ROUND_CEILING))
