"""Four worker processes share the rate of one provider's key, and in the middle the provider asks for a pause.

Each task is one request. The endpoint notes when it has received it, the ledger when it was granted, by the store's
clock. Whatever they say must agree:

- each request was granted before it was sent, and each grant was sent once
- no window of the rate's period holds more grants than the rate and the burst. What the endpoint receives is the same,
  as far as all requests are equally long under way: in a window that is shorter by what they differ in, it is no more
- from the moment that the pause is known to the store until it is over nothing is granted

Which share of what was allowed was used says how well the callers know when to come; no test depends on it, since it
depends on the machine.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from tenuto import Agent, AgentContext, AgentWorkerConfig, Orchestrator
from tenuto.tasks.clock import Millis
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import State
from tenuto.tasks.usage import LedgerEntry
from tenuto.testing import Call, EndpointProcess, Reply, Rule

__all__ = ["LONG", "SHORT", "RateReport", "Sharing", "run_rates"]

_PROCESSES = 4
_AT_ONCE = 25
_PAUSED = "wait a moment"
_TICK = 0.05


@dataclass(frozen=True)
class Sharing:
    """A rate, and what is asked under it."""

    most: int
    """requests per period: the rate and the burst together"""
    period: float
    """seconds"""
    burst: int
    requests: int
    pause: int
    """seconds for which the provider wants to be left alone, after half of the requests"""

    @property
    def limit(self) -> Limit:
        """What the store is told."""
        return Limit("shared", rate=self.most - self.burst, period=round(self.period * 1000), burst=self.burst)


SHORT = Sharing(most=60, period=2.0, burst=3, requests=180, pause=2)
LONG = Sharing(most=600, period=60.0, burst=20, requests=900, pause=10)


@dataclass
class RateReport:
    """What was asked, and when."""

    sharing: Sharing
    seconds: float = 0.0
    """from the first grant to the last one"""
    share: float = 0.0
    """of what was allowed meanwhile, outside the pause: the burst, and then the rate"""
    granted: int = 0
    """the most grants in a period"""
    received: int = 0
    """the most requests that the endpoint has received in a period"""
    late: list[Millis] = field(default_factory=list)
    """how long each request was under way from its grant to the endpoint, the shortest first"""
    claims: float = 0.0
    """of each task, on average"""
    in_pause: int = 0
    """requests that were under way when the provider asked for the pause"""
    violations: list[str] = field(default_factory=list)


async def run_rates(url: str, sharing: Sharing, seconds: float = 240.0) -> RateReport:
    """Runs it in the new store at `url`, see `matrix.ENGINES`; gives up after so many `seconds`."""
    report = RateReport(sharing)
    script = [Rule(turns=[[Reply(status=429, retry_after=sharing.pause), "here"]], first=_PAUSED), Rule(turns=["here"])]
    async with EndpointProcess(script) as endpoint:
        agent = Agent(
            "clerk", None, "openai-chat:gpt-5-mini", base_url=endpoint.openai_url, limit_key="shared", price=(0, 0)
        )
        orchestrator = Orchestrator(store=url.replace("RUN", "0"), openai_api_key="sk-test")
        orchestrator.register_runner(agent, AgentWorkerConfig(workers=_PROCESSES, batch_size=_AT_ONCE))
        async with orchestrator, asyncio.timeout(seconds):
            limit = sharing.limit
            await orchestrator.put_limit(limit.key, rate=limit.rate, per=sharing.period, burst=limit.burst)
            while len(await orchestrator.workers()) < _PROCESSES:  # noqa: ASYNC110  # no event tells it
                await asyncio.sleep(_TICK)
            texts = [f"question {number}." for number in range(sharing.requests)]
            texts[sharing.requests // 2] = _PAUSED
            ids = await orchestrator.enqueue_batch(
                agent, [agent.create_task(owner_id="ann", payload=AgentContext(query=text)) for text in texts]
            )
            while (await orchestrator.stats())[State.DONE] < sharing.requests:  # noqa: ASYNC110
                await asyncio.sleep(_TICK)
            ledgers = {text: await orchestrator.store.ledger(each) for text, each in zip(texts, ids, strict=True)}
            tasks = [task for each in ids if (task := await orchestrator.store.task(each)) is not None]
            report.claims = sum(task.attempt for task in tasks) / len(tasks)
        calls = await asyncio.to_thread(lambda: endpoint.calls)
    _judge(report, calls, ledgers)
    return report


def _judge(report: RateReport, calls: Sequence[Call], ledgers: dict[str, Sequence[LedgerEntry]]) -> None:
    sharing = report.sharing
    received: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        received[call.messages[-1]["content"]].append(call)
    if {text: len(entries) for text, entries in ledgers.items()} != {text: len(c) for text, c in received.items()}:
        report.violations.append("the endpoint has not received what was granted")
        return
    pairs = [pair for text, entries in ledgers.items() for pair in zip(entries, received[text], strict=True)]
    late = sorted(round(call.at * 1000) - entry.at for entry, call in pairs)
    granted = sorted(entry.at for entry, _ in pairs)
    arrived = sorted(round(call.at * 1000) for _, call in pairs)
    period = round(sharing.period * 1000)
    report.late = late
    report.granted, report.received = _fullest(granted, period), _fullest(arrived, period)
    if late[0] < -1:
        report.violations.append(f"a request was sent {-late[0]} ms before it was granted")
    if report.granted > sharing.most:
        report.violations.append(f"{report.granted} requests were granted in one period")
    if (most := _fullest(arrived, period - (late[-1] - late[0]))) > sharing.most:
        report.violations.append(f"{most} requests were received in less than one period")
    _judge_pause(report, granted, ledgers[_PAUSED][0], received[_PAUSED][0], arrived)


def _judge_pause(
    report: RateReport, granted: list[Millis], refused: LedgerEntry, call: Call, arrived: list[Millis]
) -> None:
    begin, limit = round(call.at * 1000), report.sharing.limit
    end = begin + report.sharing.pause * 1000
    known = refused.settled_at or end
    if meanwhile := [at for at in granted if known < at < end]:
        report.violations.append(f"{len(meanwhile)} requests were granted in the pause")
    report.in_pause = sum(begin < at < end for at in arrived)
    report.seconds = (granted[-1] - granted[0]) / 1000
    working = granted[-1] - granted[0] - (end - begin)
    report.share = len(granted) / (limit.burst + working / limit.interval)


def _fullest(at: Sequence[Millis], period: Millis) -> int:
    """The most of these instants that one period holds."""
    return max(bisect.bisect_left(at, begin + period) - first for first, begin in enumerate(at))
