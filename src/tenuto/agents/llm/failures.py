"""Requests to a model that fail: what that costs, who keeps away from the provider, and what to tell about it.

Whatever is built to catch the library's own errors gets them: `ModelFallback`, a hook that asks again, a tool that runs
another agent. One that nobody goes on from leaves the tool, or the attempt, in our words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic_ai.exceptions import (
    FallbackExceptionGroup,
    ModelHTTPError,
    UnexpectedModelBehavior,
    UsageLimitExceeded,
    UserError,
)
from pydantic_ai.models import Model

from tenuto.agents.llm.model_errors import SHORT_PAUSE, delay_of, explained, is_failure, together
from tenuto.agents.llm.money import slow_down
from tenuto.errors import AgentStuck, ModelError, TenutoError
from tenuto.workers.failures import place_of

if TYPE_CHECKING:
    from tenuto.agents.llm.attempt import Attempt

__all__ = ["Failure", "failed", "outcome", "told"]


class Failure(NamedTuple):
    """A request that has failed in this attempt."""

    error: Exception
    told: ModelError


async def failed(attempt: Attempt, model: Model, error: Exception) -> bool:
    """Takes note that a request to `model` has failed with `error`. False where that is no failure of the provider."""
    if not is_failure(error, model):
        return False
    attempt.failures.append(Failure(error, explained(attempt.who, error, model)))
    if isinstance(error, ModelHTTPError) and error.status_code == 429:
        await slow_down(attempt, model, delay_of(error) or SHORT_PAUSE)
    return True


def told(attempt: Attempt, error: Exception) -> TenutoError | None:
    """What to raise in place of `error` where requests have failed; None for any other error."""
    for failure in attempt.failures:
        if failure.error is error:
            return failure.told
    return together(attempt.who, error) if isinstance(error, FallbackExceptionGroup) else None


def outcome(attempt: Attempt, error: Exception) -> TenutoError | None:
    """What to raise in place of `error`, which has ended the conversation; None for what is none of the library's."""
    who = place_of(error, attempt.context.task_id) or attempt.who
    match error:
        case UnexpectedModelBehavior() | UsageLimitExceeded():
            said = str(error).partition(". Consider raising the retry limit")[0]
            hint = ": Agent(retries=…) allows the model more corrections" if "retries" in said else ""
            stuck = AgentStuck(f"{who}, cannot come to an end: {said}{hint}")
            return told(attempt, error) or stuck
        case UserError():
            return told(attempt, error) or ModelError(f"{who}: {error}", retryable=False)
    return told(attempt, error)
