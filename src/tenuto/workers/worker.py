"""A worker: claims tasks, runs them, reports how they ended.

              store
              ▲   │   commit_and_claim: what finished since the last exchange goes up, what is free comes down
     outcomes │   │ leases
              │   ▼
        ┌── exchange ◄──── hint, poll, result
        │     │
        │     ▼
        │   slots ──► running (one asyncio task each) ──► outcomes
        │                 ▲
        └── keeper ───────┘  renews leases, stops what lost its lease or reached its time limit
            sweeper          does what time brings

Invariants, and why:

 1. One exchange is outstanding at a time, and there is no timer and no batching delay. While it is in flight, results
    pile up and go with the next one. So one result on an idle worker is sent at once, and a thousand under load share
    a transaction: batching costs no latency.
 2. Every exchange has a number. It is repeated, unchanged, until it is answered; the store answers a repeat as it
    answered the first. No outcome is lost, and none is applied twice.
 3. Every free slot is refilled at once, first from what was claimed ahead. What is claimed ahead is at most what
    finishes during one round trip: slow tasks are never claimed ahead, and a task that nevertheless sits behind slow
    ones is handed back soon, so that no idle worker goes without it.
 4. Leases count from the moment their request was first sent, by the monotonic clock (see `keeper`): neither a slow
    round trip nor a repeat can stretch them.
 5. A task whose worker vanished twice before runs alone: if it takes its worker down again, it takes nothing else
    with it.
 6. An attempt always ends with an outcome, also when the store will refuse it: it says that the slots are free.

An idle worker sleeps until a hint from the store, the poll interval (jittered) or a result; a hint starts a claim at
once. Hints are only hints: polling is the truth.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import random
import socket
import time
from collections.abc import Awaitable, Sequence
from functools import partial

from msgspec.structs import replace

from tenuto.errors import InvalidInput, TenutoError
from tenuto.observability.logging import logger
from tenuto.stores.base import Claim, Exchange, Exchanged, Hint, Store, WorkerInfo
from tenuto.tasks.clock import Millis, duration, wall_clock
from tenuto.tasks.ids import check_name, new_id
from tenuto.tasks.lease import Lease
from tenuto.tasks.outcome import Answer
from tenuto.tasks.retry import RetryPolicy
from tenuto.workers.config import WorkerConfig
from tenuto.workers.handler import Handler, limits_of, serving
from tenuto.workers.keeper import Keeper
from tenuto.workers.maintenance import Sweeper
from tenuto.workers.patience import Patience
from tenuto.workers.recorder import Recorder
from tenuto.workers.services import Services
from tenuto.workers.slots import Slots
from tenuto.workers.threads import Threads

__all__ = ["Worker", "WorkerConfig", "WorkerStuck"]

log = logger("tenuto.worker")

_RETURNS_WITHIN = 1.0
"""Seconds after which a call that was stopped counts as one that does not return."""
_AHEAD = 100
"""Most tasks claimed ahead by a worker that runs fewer at once, unless it is configured."""
_FAREWELL = 1.0
"""Seconds at the end of the grace time, or after a cancellation, for handing tasks back."""


class WorkerStuck(TenutoError):
    """Half of a worker's slots are taken by calls that cannot be stopped: it has ended, to be started afresh."""


class Worker:
    """Claims tasks of its handlers' agents and runs them, until it is drained."""

    def __init__(
        self,
        store: Store,
        handlers: Sequence[Handler],
        config: WorkerConfig | None = None,
        *,
        name: str | None = None,
    ) -> None:
        """A worker for the agents that `handlers` are named for.

        `name` begins its `id`, which is fresh for every worker.
        Raises `InvalidInput` when there is no handler, or two have one name.
        """
        self.config = config or WorkerConfig()
        self.id = new_id(check_name(name, "name") if name is not None else "worker")
        self._store = store
        self._handlers = _by_name(handlers)
        self._agents = tuple(self._handlers)
        """those that it can serve, once it runs"""
        self._lease: Millis = duration(self.config.lease, "lease")
        self._number = 0
        self._outstanding: Exchange | None = None
        """what was sent and is not answered yet"""
        self._sent = 0.0
        """when the last request was first sent"""
        self._arrived: tuple[Sequence[Lease], float] = (), 0.0
        """leases that were not taken in yet, and when their claim was first sent"""
        self._round_trip = 0.0
        """seconds that the last exchange took"""
        self._dry = False
        """the last claim got less than it asked for, and nothing has happened since"""
        self._hints = 0
        self._draining = False
        self._leave_by = math.inf
        self._crowded_since: float | None = None
        """since when half of the slots are gone"""
        self._stuck: WorkerStuck | None = None
        self._started_at = wall_clock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._patience = Patience(self.id)
        self._services = Services(
            store,
            Recorder(store, self._lease, self.id),
            Threads(self.config.concurrency, self.id),
            self._patience,
            self._lease,
            self.config.turn_timeout,
            RetryPolicy() if self.config.max_retries is None else RetryPolicy(self.config.max_retries),
        )
        self._keeper = Keeper(store, self.info, self.config.lease)
        self._slots = Slots(
            self.config.concurrency, self._handlers, self._services, watch=self._keeper.watch, ended=self._wake.set
        )
        maintenance = self.config.maintenance
        self._sweeper = None if maintenance is None else Sweeper(store, maintenance, changed=self._nudge, name=self.id)

    @property
    def busy(self) -> int:
        """Tasks running now."""
        return self._slots.busy

    # -- life ----------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Works until `drain` was asked for and is complete, or it is cancelled, which hands its tasks back at once.

        Opens the store, and waits for one that is not there yet. Raises errors of the store that do not pass by
        waiting, `CannotServe` without what its agents need, `WorkerStuck` when calls that never end take half of it.
        """
        self._loop = asyncio.get_running_loop()
        if self._draining:
            return
        async with serving(self._handlers) as served:
            self._handlers.update(served)
            self._agents = tuple(served)
            self._main = main = asyncio.create_task(self._serve())
            try:
                await asyncio.wait([main])
            finally:
                main.cancel()
                await asyncio.wait([main])
        if not main.cancelled():
            main.result()
        if (fatal := self._slots.fatal or self._stuck) is not None:
            raise fatal

    def drain(self) -> None:
        """Stops claiming, hands back what was claimed ahead, and lets running tasks finish while the grace time lasts;
        then they are interrupted and handed back, and `run` returns. May be called from any thread."""
        if self._loop is None:
            self._draining = True
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: there is nothing left to drain
            self._loop.call_soon_threadsafe(self._begin_drain)

    def info(self) -> WorkerInfo:
        """Its presence, as the store shows it."""
        return WorkerInfo(
            id=self.id,
            agents=self._agents,
            slots=self.config.concurrency,
            busy=self.busy,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
        )

    async def _serve(self) -> None:
        if self._draining:
            return
        await self._patience.ask(self._store.open, "open")
        for handler in self._handlers.values():
            for limit in limits_of(handler):
                await self._patience.ask(partial(self._store.put_limit, limit), "put_limit")
        stop_listening = self._store.listen(self._on_hint)
        parts = [asyncio.create_task(self._exchange()), asyncio.create_task(self._keeper.run(self._slots))]
        if self._sweeper is not None:
            parts.append(asyncio.create_task(self._sweeper.run()))
        try:
            await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_listening()
            self._take_in()
            await self._leave(parts)
        for part in parts:
            if not part.cancelled():
                part.result()

    def _begin_drain(self) -> None:
        if self._draining or self._loop is None:
            return
        self._draining = True
        if self._main is None or not self._number:
            if self._main is not None:
                self._main.cancel()  # it may be waiting for a store that is not there
            return
        grace = self.config.grace
        farewell = min(_FAREWELL, grace / 2)
        self._leave_by = time.monotonic() + grace
        self._loop.call_later(grace - farewell, self._slots.interrupt)
        self._loop.call_later(grace - farewell / 2, self._main.cancel)
        self._slots.close()
        self._wake.set()

    async def _leave(self, parts: Sequence[asyncio.Task[None]]) -> None:
        """Ends every part. Whatever is still held is handed back, if the store answers in time."""
        left = min(_FAREWELL, max(self._leave_by - time.monotonic(), 0.05))
        for part in parts:
            part.cancel()
        await asyncio.wait(parts)
        self._slots.close()
        if running := self._slots.interrupt():
            await asyncio.wait(running, timeout=left / 2)
        try:
            async with asyncio.timeout(left / 2):
                await self._say_farewell()
        except (TimeoutError, TenutoError, OSError) as error:
            log.warning("tasks could not be handed back", worker=self.id, why=str(error) or "no answer in time")
        await self._services.recorder.close()
        self._services.threads.close()

    async def _say_farewell(self) -> None:
        if self._outstanding is not None:
            reply = await self._store.commit_and_claim(self._outstanding)
            self._slots.take_in(reply.leases, self._sent)
        if self._slots.outcomes:
            self._number += 1
            await self._store.commit_and_claim(Exchange(self.id, self._number, tuple(self._slots.outcomes)))
        # Whoever asks why a task does not run must not be told to wait for this worker.
        await self._store.renew(replace(self.info(), slots=0), (), self._lease)

    # -- the exchange --------------------------------------------------------------------------------------

    async def _exchange(self) -> None:
        while True:
            self._wake.clear()
            self._check()
            request = self._request()
            if request is not None:
                await self._send(request)
            elif self._arrived[0]:
                self._take_in()
            elif self._draining and not self._slots.held:
                return
            else:
                await self._idle()

    def _check(self) -> None:
        """Ends the worker when a task demands it, or too many slots are gone and stay so.

        A machine that slept loses all its leases at once: its calls were stopped too, and return in a moment.
        """
        gone, size = self._slots.gone, self.config.concurrency
        now = time.monotonic()
        if not gone or gone * 2 < size:
            self._crowded_since = None
        elif self._crowded_since is None:
            self._crowded_since = now
            asyncio.get_running_loop().call_later(_RETURNS_WITHIN + 0.01, self._wake.set)
        elif now - self._crowded_since >= _RETURNS_WITHIN and self._stuck is None:
            self._stuck = WorkerStuck(
                f"worker {self.id!r} ends: {gone} of its {size} slots are taken by calls that were stopped and do not "
                "return; start another, and give those calls time limits of their own"
            )
        if self._stuck is not None or self._slots.fatal is not None:
            self._begin_drain()

    def _request(self) -> Exchange | None:
        """The next request; None when there is nothing to say and nothing to ask for."""
        slots = self._slots
        free = slots.free - len(self._arrived[0])
        if not slots.outcomes and (free <= 0 or self._dry):
            return None
        outcomes, slots.outcomes = tuple(slots.outcomes), []
        want = free + self._foreseen(len(outcomes)) if slots.open else 0
        self._number += 1
        claim = Claim(self._agents, want, self._lease) if want > 0 else None
        return Exchange(self.id, self._number, outcomes, claim)

    def _foreseen(self, finished: int) -> int:
        """How many tasks will finish during one round trip, judging by the `finished` ones since the last request."""
        spent, self._slots.spent = self._slots.spent, 0.0
        if not finished:
            return 0
        concurrency, prefetch = self.config.concurrency, self.config.prefetch
        most = max(concurrency, _AHEAD) if prefetch is None else prefetch
        return min(most, int(concurrency * self._round_trip * finished / max(spent, 1e-6)))

    async def _send(self, request: Exchange) -> None:
        self._outstanding = request
        if self._arrived[0]:
            asyncio.get_running_loop().call_soon(self._take_in)  # that is, once the request is on its way
        hints = self._hints
        # Leases count from the first time that the request was sent: that one may have been carried out.
        self._sent = again = time.monotonic()

        def exchange() -> Awaitable[Exchanged]:
            nonlocal again
            again = time.monotonic()
            return self._store.commit_and_claim(request)

        reply = await self._patience.ask(exchange, "commit_and_claim")
        self._outstanding = None
        self._round_trip = time.monotonic() - again
        for outcome, answer in zip(request.outcomes, reply.answers, strict=True):
            if answer is Answer.INVALID:
                log.error("the store refused a report", worker=self.id, task=outcome.hold.task_id, how=outcome.ending)
        if reply.leases:
            self._arrived = reply.leases, self._sent
            self._keeper.watch_lease(self._sent + self.config.lease)
            if any(lease.losses for lease in reply.leases):
                self._take_in()  # a suspect: until it has run nothing may be claimed
        if request.claim is not None:
            self._dry = not reply.more and len(reply.leases) < request.claim.slots and hints == self._hints
        if self._sweeper is not None:
            self._sweeper.due(reply.next_due, reply.now)
        if reply.more:
            await asyncio.sleep(0)  # a claim that only parks must not stop the tasks

    def _take_in(self) -> None:
        """Begins what the last exchange brought."""
        (leases, sent), self._arrived = self._arrived, ((), 0.0)
        if leases:
            self._slots.take_in(leases, sent)

    async def _idle(self) -> None:
        """Sleeps until there is something to say or to ask for."""
        poll: asyncio.TimerHandle | None = None
        if not self._draining and self._loop is not None:
            poll = self._loop.call_later(self.config.poll * random.uniform(0.7, 1.0), self._nudge)
        try:
            await self._wake.wait()
        finally:
            if poll is not None:
                poll.cancel()

    def _nudge(self) -> None:
        """There may be something to claim."""
        self._hints += 1
        self._dry = False
        self._wake.set()

    def _on_hint(self, hint: Hint) -> None:
        """Called by the store, from any thread, after every commit: quick when it is none of ours."""
        ready = any(agent in hint.ready for agent in self._agents)
        if hint.tasks is not None:
            # Not `isdisjoint`: it would iterate over a dictionary that the loop's thread changes.
            named = [task_id for task_id in hint.tasks if task_id in self._slots.held]
            if not ready and not named:
                return
        else:
            named = None
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._hear, ready, named)

    def _hear(self, ready: bool, named: list[str] | None) -> None:
        if ready:
            self._nudge()
        if named is None or named:
            self._keeper.look(None if named is None else set(named))


def _by_name(handlers: Sequence[Handler]) -> dict[str, Handler]:
    if not handlers:
        raise InvalidInput("a worker needs at least one agent to run tasks for")
    found: dict[str, Handler] = {}
    for handler in handlers:
        check_name(handler.name, "agent name")
        if found.setdefault(handler.name, handler) is not handler:
            raise InvalidInput(f"two agents are named {handler.name!r}: give each a name of its own")
    return found
