"""Money before and after each request to the model: reserved, settled, and what happens where there is none left.

What happens at the limit of a budget is the budget's choice: `fail` ends the task, `pause` holds it for a person, who
raises the budget and resumes it, `fallback` goes on with the agent's cheaper model. At the limit of a rate the request
waits: here for a moment, longer in the store, where it holds nothing.

Rates are those of the provider's key: limits named `model:<provider>` count requests, `model:<provider>:tokens` tokens;
`Agent(limit_key=…)` names another. Keys that nobody has limited limit nothing. A provider's own "too many requests"
holds everybody back who uses that key.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pydantic_ai.messages import ModelResponse
from pydantic_ai.models import Model
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import RunContext

from tenuto.agents.llm.prices import MOST_TOKENS, Price, most, spent
from tenuto.errors import BudgetExceeded, ModelError
from tenuto.tasks.money import DOLLAR, NOTHING, AtLimit, Refusal, RefusalKind, Reserve, Settle
from tenuto.tasks.waits import Wait
from tenuto.workers.interruption import HandedBack

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["Cheaper", "Terms", "make_room", "not_sent", "reservation", "settlement", "slow_down"]

_MOMENT = 1_000
"""Milliseconds for which a request waits where it is, in its worker."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What holds for the requests of an agent."""

    max_turns: int
    price: Price | None = None
    """of its model, in dollars per million tokens in and out; None: as the public price lists say"""
    fallback: Any = None
    """the model that goes on where a budget says so"""
    fallback_price: Price | None = None
    limit_key: str | None = None
    """under which rates are counted; None: `model:<provider>`"""
    stream: bool = False
    """what the model says is told while it says it"""


class Cheaper(Exception):  # not an error: the conversation goes on
    """The budget is used up: the agent's cheaper model takes over."""


def reservation(
    attempt: Attempt, key: str, ctx: RunContext[Any], tokens_in: int, settings: ModelSettings | None
) -> Reserve:
    """What the request `key` may use at most."""
    model = _model(ctx)
    tokens_out = int((settings or {}).get("max_tokens") or MOST_TOKENS)
    bound, priced = most(model, attempt.price, tokens_in, tokens_out)
    limit = _limit_key(attempt, model)
    return Reserve(key, bound, model.model_name, ((limit, 1), (f"{limit}:tokens", bound.tokens)), unpriced=not priced)


def settlement(attempt: Attempt, key: str, ctx: RunContext[Any], response: ModelResponse) -> Settle:
    """What it has used."""
    model = _model(ctx)
    actual = spent(model, attempt.price, response.usage)
    return Settle(key, actual, ((f"{_limit_key(attempt, model)}:tokens", actual.tokens),), model=model.model_name)


def not_sent(key: str) -> Settle:
    """The request was refused before it cost anything."""
    return Settle(key, NOTHING)


def _model(ctx: RunContext[Any]) -> Model:
    """The model itself, under whatever is wrapped around it."""
    model = ctx.model
    while isinstance(model, WrapperModel):
        model = model.wrapped
    return cast(Model, model)


def _limit_key(attempt: Attempt, model: Model) -> str:
    return attempt.limit_key or f"model:{model.system}"


async def slow_down(attempt: Attempt, ctx: RunContext[Any], seconds: float) -> None:
    """The provider has asked for a pause: everybody who uses its key keeps to it."""
    services, key = attempt.context.services, _limit_key(attempt, _model(ctx))
    await services.patience.ask(lambda: services.store.slow(key, round(seconds * 1000)), "slow")


async def make_room(attempt: Attempt, refusal: Refusal) -> None:
    """Returns when it is worth another try.

    Raises `BudgetExceeded`, `Cheaper`, or what leaves the task waiting or paused in the store.
    """
    if refusal.kind is RefusalKind.BUDGET:
        _at_limit(attempt, refusal)
    if refusal.retry_at is None:
        raise ModelError(
            f"agent {attempt.context.lease.agent!r} needs more of {refusal.key!r} at once than that limit ever allows: "
            "raise its burst, or lower max_tokens",
            retryable=False,
        )
    if refusal.retry_at - refusal.now > _MOMENT:
        await attempt.journal.suspend(attempt.here, Wait(until=refusal.retry_at))
    await asyncio.sleep(max(refusal.retry_at - refusal.now, 1) / 1000)


def _at_limit(attempt: Attempt, refusal: Refusal) -> None:
    sentence = _sentence(refusal)
    if refusal.at_limit is AtLimit.PAUSE:
        attempt.journal.halt = HandedBack(pause=f"{sentence}: raise it, then resume the task")
        raise attempt.journal.halt
    if refusal.at_limit is AtLimit.FALLBACK and attempt.may_fall_back:
        raise Cheaper
    raise BudgetExceeded(sentence, scope=refusal.key)


def _sentence(refusal: Refusal) -> str:
    period = f" per {refusal.period.value}" if refusal.period else ""
    if refusal.short == "price":
        return f"the budget{period} of {refusal.key} is in money, and the price of the model is not known: give a price"
    left = f"${refusal.left / DOLLAR:.6f}" if refusal.short == "money" else f"{refusal.left:,} {refusal.short}"
    return f"the budget{period} of {refusal.key} has {left} left, less than the next request may use"
