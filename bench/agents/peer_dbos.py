"""DBOS with Pydantic AI: the library's own `DBOSDurability`; function tools are steps by decorator, as it advises."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from bench.agents.script import Clock, note, values
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT"]


def turns(place: Place, size: Size) -> Mapping[str, float]:
    from dbos import DBOS
    from pydantic_ai import Agent, UsageLimits
    from pydantic_ai.durable_exec.dbos import DBOSDurability

    logging.getLogger("dbos").setLevel(logging.ERROR)
    clock = Clock(size.turns)
    url = place.new("turns")
    DBOS(config={"name": "bench", "system_database_url": url, "log_level": "ERROR"})
    step: Any = DBOS.step(name="note")
    agent: Any = Agent(clock.model(), name="writer", tools=[step(note)], capabilities=[DBOSDurability()])

    @DBOS.workflow(name="converse")
    async def converse(prompt: str) -> str:
        result = await agent.run(prompt, usage_limits=UsageLimits(request_limit=None))
        return str(result.output)

    DBOS.launch()
    try:
        assert asyncio.run(_run(converse)) == "done"
    finally:
        DBOS.destroy()
    return values(clock, place.disk(url))


async def _run(converse: Any) -> str:
    return str(await converse("begin"))


SUBJECT = Subject(
    "DBOS + Pydantic AI",
    "a crash loses nothing that was recorded; responses and tools' results are recorded",
    ("dbos", "pydantic_ai"),
    {"turns": turns},
)
