"""What a call to a model costs: its most before it is sent, what it really cost afterwards.

Prices come from `genai-prices`, which knows the public price lists; for other models, an agent says its own
(`Agent(price=(0.10, 0.40))`: US dollars per million tokens in and out; a model on your own machine may cost nothing).

The most that a request can cost: the input tokens of the last request and one token for each byte that was added since
(no tokenizer makes more tokens of a text than it has bytes), at the price of input that goes into the provider's cache
where that is dearer, and `max_tokens` of output, which is therefore always set.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import Any

from genai_prices import Usage, calc_price
from pydantic_ai.models import Model
from pydantic_ai.usage import RequestUsage

from tenuto.errors import InvalidInput
from tenuto.tasks.money import DOLLAR, Amount

__all__ = ["MOST_TOKENS", "Price", "check_price", "most", "spent"]

MOST_TOKENS = 8_192
"""Tokens that a response may have, unless the agent's model settings say otherwise."""

Price = tuple[float, float]
"""US dollars for a million tokens: in, out."""

_MILLION = 1_000_000


def check_price(price: Any, what: str) -> None:
    """Raises `InvalidInput` that names `what`, unless `price` is a `Price` or None."""
    if price is None:
        return
    if not (isinstance(price, tuple | list) and len(price) == 2 and all(map(_is_dollars, price))):
        raise InvalidInput(f"{what} must be two numbers, US dollars per million tokens in and out, not {price!r}")


def _is_dollars(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


def most(model: Model, own: Price | None, tokens_in: int, tokens_out: int) -> tuple[Amount, bool]:
    """The most that a request with so many tokens uses, and whether its price is known."""
    # Providers may put all of the input into their cache, which some of them charge more for than for plain input.
    usages = [
        Usage(input_tokens=tokens_in, output_tokens=tokens_out, cache_write_tokens=kept) for kept in (0, tokens_in)
    ]
    prices = [_price(model.model_name, model.system, _url(model), own, usage) for usage in usages]
    known = [price for price in prices if price is not None]
    return Amount(max(known, default=0), tokens_in + tokens_out, 1), bool(known)


def spent(model: Model, own: Price | None, usage: RequestUsage) -> Amount:
    """What a request has used."""
    money = _price(model.model_name, model.system, _url(model), own, usage)
    return Amount(money or 0, usage.input_tokens + usage.output_tokens, 1)


def _url(model: Model) -> str | None:
    return getattr(model, "base_url", None)


def _price(name: str, provider: str, url: str | None, own: Price | None, usage: Any) -> int | None:
    """Nano-dollars, rounded up; None for a model without a known price."""
    if own is not None:
        tokens_in, tokens_out = Decimal(usage.input_tokens or 0), Decimal(usage.output_tokens or 0)
        return _nano((tokens_in * Decimal(str(own[0])) + tokens_out * Decimal(str(own[1]))) / _MILLION)
    for where in ({"provider_api_url": url}, {"provider_id": provider}):
        if all(where.values()):
            try:
                return _nano(calc_price(usage, name, **where).total_price)
            except LookupError:  # neither this address nor this provider's models are known
                continue
    return None


def _nano(dollars: Decimal) -> int:
    return int((dollars * DOLLAR).to_integral_value(ROUND_CEILING))
