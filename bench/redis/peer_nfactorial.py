"""nFactorial on Redis: agents whose tasks have a state, a result, heartbeats and published events.

An agent answers at once, without a model. A worker takes as many tasks in one batch as may run at once, and takes the
next batch when the slowest of them has ended; an idle one looks again after 0.25 to 0.75 seconds. "In batches" is its
own batch of 1,000; the drain works off tasks that were submitted singly, because it tells the progress of a batch
after every task of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from bench import loops, measures
from bench.crew import Board, Post
from bench.measures import TEXT
from bench.places import Place
from bench.plan import Size, Subject

__all__ = ["SUBJECT", "serve"]

_SERVE = f"{__name__}:serve"
_OWNER = "owner"


class _System:
    """An orchestrator and its agent."""

    def __init__(self, url: str, board: Board | None = None, connections: int = 50) -> None:
        import factorial

        for name in ("factorial", "factorial.queue", "factorial.orchestrator", "factorial.agent"):
            logging.getLogger(name).setLevel(logging.ERROR)
        logging.disable(logging.WARNING)

        class Work(factorial.BaseAgent):  # type: ignore[type-arg,misc,unused-ignore]
            async def run_turn(self, agent_ctx: Any) -> Any:
                assert board is not None
                board.ran(agent_ctx.n)
                output = {"n": agent_ctx.n, "text": agent_ctx.text}
                return factorial.TurnCompletion(is_done=True, context=agent_ctx, output=output)

        parts = urlsplit(url)
        self.context: Any = factorial.AgentContext
        self.orchestrator: Any = factorial.Orchestrator(
            redis_host=parts.hostname,
            redis_port=parts.port or 6379,
            redis_db=int(parts.path.strip("/") or 0),
            redis_max_connections=connections,
            openai_api_key="none",
            xai_api_key="none",
        )
        self.agent: Any = Work(name="work")
        self.config: Any = factorial.AgentWorkerConfig

    def payload(self, n: int) -> Any:
        return self.context(query="", n=n, text=TEXT)

    async def submit(self, n: int) -> None:
        await self.orchestrator.create_agent_task(self.agent, self.payload(n), _OWNER)

    async def submit_batch(self, count: int) -> None:
        from factorial.queue.operations import create_batch_and_enqueue

        await create_batch_and_enqueue(
            redis_client=await self.orchestrator.get_redis_client(),
            namespace=self.orchestrator.namespace,
            agent=self.agent,
            payloads=[self.payload(0) for _ in range(count)],
            owner_id=_OWNER,
        )


async def _serve(post: Post) -> None:
    system = _System(post.url, post.board, connections=4 * post.concurrency + 20)
    system.orchestrator.register_runner(system.agent, system.config(batch_size=post.concurrency))
    await asyncio.to_thread(post.ready)
    stopped = asyncio.Event()
    running = asyncio.create_task(system.orchestrator.start_workers(stopped))
    await asyncio.to_thread(post.over)
    running.cancel()


def serve(post: Post) -> None:
    """What a worker process does."""
    loops.run(_serve(post))


def _fill(url: str, count: int) -> None:
    async def fill() -> None:
        system = _System(url)
        for first in range(0, count, 25):
            await asyncio.gather(*(system.submit(0) for _ in range(min(25, count - first))))

    loops.run(fill())


def _settled(url: str) -> int:
    import redis
    from factorial.queue.keys import RedisKeys

    keys = RedisKeys.format(namespace="factorial", agent="work")
    with redis.Redis.from_url(url) as client:
        completed: Any = client.zcard(keys.queue_completions)
        return int(completed)


async def _submit(url: str, size: Size) -> Mapping[str, float]:
    system = _System(url)
    return {
        "submit.single": await measures.async_rate(system.submit, size.singles // 5),
        "submit.bulk": await measures.async_rate(lambda _: system.submit_batch(1_000), size.bulk // 10, each=1_000),
    }


def submit(place: Place, size: Size) -> Mapping[str, float]:
    return loops.run(_submit(place.new("submit"), size))


def drain(place: Place, size: Size) -> Mapping[str, float]:
    return measures.drain(place, size, _SERVE, _fill, size.slow_drain, settled=_settled)


def latency(place: Place, size: Size) -> Mapping[str, float]:
    url = place.new("latency")
    system = _System(url)
    return loops.run(measures.latency(place, size, _SERVE, url, system.submit))


def size_of(place: Place, size: Size) -> Mapping[str, float]:
    return measures.queued(place, _fill, size.waiting // 10)


SUBJECT = Subject(
    name="nFactorial",
    durability="AOF everysec; at least once; result for an hour, events published and not kept",
    requires=("factorial", "redis"),
    runs={"submit": submit, "drain": drain, "latency": latency, "size": size_of},
)
