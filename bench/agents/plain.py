"""Pydantic AI by itself: nothing survives. What is measured beyond this is the price of durability."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench.agents.script import Clock, note, values
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT"]


def turns(place: Place, size: Size) -> Mapping[str, float]:
    from pydantic_ai import Agent, UsageLimits

    clock = Clock(size.turns)
    agent = Agent(clock.model(), name="writer", tools=[note])
    asyncio.run(agent.run("begin", usage_limits=UsageLimits(request_limit=None)))
    return values(clock, None)


SUBJECT = Subject("Pydantic AI alone", "none: a crash loses the conversation", ("pydantic_ai",), {"turns": turns})
