"""Money before and after each request to the model: reserved, settled, and what happens where there is none left.

What happens at the limit of a budget is the budget's choice: `fail` ends the task, `pause` holds it for a person, who
raises the budget and resumes it, `fallback` goes on with the agent's cheaper model. A budget that is only busy, because
requests under way hold what is left of it, is no limit: the task waits in the store, and is woken when there is room.
At the limit of a rate the request waits: here for a moment, longer in the store, where it holds nothing.

Rates are those of the provider's key: limits named `model:<provider>` count requests, `model:<provider>:tokens` tokens.
A model that speaks as OpenAI's, Anthropic's or xAI's at another address counts under that: `model:localhost:11434`.
`Agent(limit_key=…)` names another. Keys that nobody has limited limit nothing. A provider's own "too many requests"
holds everybody back who uses that key. The store tells each request that waits its own time to come back, so that they
do not all come at once. What a refused request has reserved of its tokens is for others at once; so is its place as a
request, where it has not reached the provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.wrapper import WrapperModel

from tenuto.agents.llm.bounds import image_tokens, keeps_long, without_end
from tenuto.agents.llm.prices import MOST_TOKENS, Price, most, spent, tier_of
from tenuto.errors import BudgetExceeded
from tenuto.tasks.money import DOLLAR, NOTHING, AtLimit, Refusal, RefusalKind, Reserve, Settle
from tenuto.tasks.waits import Wait, budget_topic, rate_topic
from tenuto.workers.interruption import HandedBack

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt
    from tenuto.agents.llm.model_calls import ModelParams

__all__ = [
    "CHEAPER",
    "Cheaper",
    "Terms",
    "make_room",
    "not_sent",
    "refused_for_free",
    "reservation",
    "settlement",
    "slow_down",
    "unwrapped",
]

_HOSTS = {"openai": "api.openai.com", "anthropic": "api.anthropic.com", "xai": "api.x.ai"}
"""Where the providers are themselves whose way of speaking others share."""

_MOMENT = 1_000
"""Milliseconds for which a request waits where it is, in its worker."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the requests of an agent."""

    max_turns: int
    price: Price | None = None
    """of its model, in dollars per million tokens in and out; None: as the public price lists say"""
    others: Mapping[str, Model] = field(default_factory=dict)
    """models that may be asked beside the agent's own, by the names that the library asks for them by; `CHEAPER` is the
    one that goes on where a budget says so"""
    fallback_price: Price | None = None
    limit_key: str | None = None
    """under which rates are counted; None: `model:<provider>`, or `model:<host[:port]>` at another address"""
    stream: bool = False
    """what the model says is told while it says it"""


CHEAPER = "fallback"
"""The name of the agent's cheaper model, and the journal's key of the turn in which it took over."""


class Cheaper(Exception):  # not an error: the conversation goes on
    """The budget is used up: the agent's cheaper model takes over."""


def reservation(attempt: Attempt, key: str, model: Model, params: ModelParams, tokens_in: int) -> tuple[Reserve, str]:
    """What the request `key` to `model` may use at most, and why that is not known in money, if it is not."""
    model, settings = unwrapped(model), params.settings
    own = attempt.price_of(model)
    items = attempt.beside_text.of(params.sent)
    tokens_in += image_tokens(items, model.system)
    tokens_out = int((settings or {}).get("max_tokens") or MOST_TOKENS)
    long, tier = keeps_long(items, settings), tier_of(settings)
    bound, priced = most(model, own, tokens_in, tokens_out, long=long, tier=tier)
    why = "" if priced else "the price of the model is not known: give a price"
    if own is None or any(own):  # what is free is free, however much it is
        endless = without_end(items, settings, params.parameters, model.system)
        why = why or (f"{endless}: leave it out, or give the agent no budget in money" if endless else "")
    limit = _limit_key(attempt, model)
    rates = ((limit, 1), (f"{limit}:tokens", bound.tokens))
    return Reserve(key, bound, model.model_name, rates, unpriced=bool(why)), why


def settlement(attempt: Attempt, key: str, model: Model, response: ModelResponse) -> Settle | None:
    """What it has used; None where the provider does not say, so that it stays counted at its most."""
    model = unwrapped(model)
    actual = spent(model, attempt.price_of(model), response)
    if actual is None:
        return None
    return Settle(key, actual, ((f"{_limit_key(attempt, model)}:tokens", actual.tokens),), model=model.model_name)


def not_sent(reserve: Reserve, *, reached: bool = False) -> Settle:
    """The request was given up, or refused, before it cost anything: the units of its rates are for others.

    reached: by the provider, which may count it as a request, and counts no tokens.
    """
    return Settle(reserve.call, NOTHING, tuple((key, 0) for key, _ in reserve.rates[1 if reached else 0 :]))


def refused_for_free(attempt: Attempt, key: str, model: Model, begun: int) -> Settle:
    """The request `key` of the attempt `begun` was refused later, before it cost anything: as one that was refused at
    once (`not_sent`)."""
    return Settle(key, NOTHING, ((f"{_limit_key(attempt, unwrapped(model))}:tokens", 0),), attempt=begun)


def unwrapped(model: Model) -> Model:
    """The model itself, under whatever is wrapped around it."""
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return model


def _limit_key(attempt: Attempt, model: Model) -> str:
    return attempt.limit_key_of(model) or f"model:{_provider(model.system, getattr(model, 'base_url', None) or '')}"


@lru_cache(maxsize=256)
def _provider(system: str, url: str) -> str:
    """Whose rates count: the provider's, or of a model at an address of one's own that address, `host[:port]`."""
    usual = _HOSTS.get(system)
    address = urlsplit(url)
    host = address.hostname
    if usual is None or host is None or host == usual or host.endswith(f".{usual}"):
        return system
    return address.netloc.rpartition("@")[2].lower()


async def slow_down(attempt: Attempt, model: Model, seconds: float) -> None:
    """The provider has asked for a pause: everybody who uses its key keeps to it."""
    services, key = attempt.context.services, _limit_key(attempt, unwrapped(model))
    await services.patience.ask(lambda: services.store.slow(key, round(seconds * 1000)), "slow")


async def make_room(attempt: Attempt, refusal: Refusal, why: str) -> None:
    """Returns when it is worth another try. why: what is not known of the request's price.

    Raises `BudgetExceeded`, `Cheaper`, or what leaves the task waiting or paused in the store.
    """
    if refusal.kind is RefusalKind.BUDGET or refusal.retry_at is None:
        _at_limit(attempt, refusal, why)
    elif refusal.kind is RefusalKind.BUSY:
        await attempt.journal.suspend(attempt.here, Wait((budget_topic(refusal.key),), until=refusal.retry_at))
    elif refusal.retry_at - refusal.now > _MOMENT:
        await attempt.journal.suspend(attempt.here, Wait((rate_topic(refusal.key),), until=refusal.retry_at))
    else:
        await asyncio.sleep(max(refusal.retry_at - refusal.now, 1) / 1000)


def _at_limit(attempt: Attempt, refusal: Refusal, why: str) -> NoReturn:
    sentence = _sentence(refusal, why)
    if refusal.at_limit is AtLimit.PAUSE and refusal.short != "price":
        attempt.journal.halt = HandedBack(pause=f"{sentence}: raise it, then resume the task")
        raise attempt.journal.halt
    if refusal.at_limit is AtLimit.FALLBACK and attempt.may_fall_back:
        raise Cheaper
    raise BudgetExceeded(sentence, scope=refusal.key)


def _sentence(refusal: Refusal, why: str) -> str:
    period = f" per {refusal.period.value}" if refusal.period else ""
    if refusal.short == "price":
        return f"the budget{period} of {refusal.key} is in money, and {why}"
    left = f"${refusal.left / DOLLAR:.6f}" if refusal.short == "money" else f"{refusal.left:,} {refusal.short}"
    return f"the budget{period} of {refusal.key} has {left} left, less than the next request may use"
