"""`RedisStore`: the store contract on one Redis or Valkey server.

The rules run inside the server, as scripts (`lua/`) that follow `stores.rules` function by function: each request is
one script and one transaction. Here a request is put into the form that its script takes, sent (`line`), and its answer
is put into words. Reads are scripts too (`reads`).
"""

from __future__ import annotations

import asyncio
import itertools
import os
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

import msgspec
from msgspec.structs import replace

from tenuto.errors import InvalidInput, NeedsSql, StoreClosed
from tenuto.stores.base import (
    Delivered,
    Exchange,
    Exchanged,
    Hint,
    Renewal,
    Submission,
    Submitted,
    Verdict,
    WorkerInfo,
)
from tenuto.stores.batches import in_parts, tasks_in
from tenuto.stores.redis.address import Address
from tenuto.stores.redis.codec import dump, lease_of, limit_parts, message_of, pack
from tenuto.stores.redis.connection import Connections
from tenuto.stores.redis.functions import Scripts
from tenuto.stores.redis.hints import Hints
from tenuto.stores.redis.line import Line
from tenuto.stores.redis.maintenance import Maintenance, must_exist
from tenuto.stores.redis.money import RedisMoney
from tenuto.stores.redis.reports import outcome_parts, record_parts, recorded
from tenuto.stores.redis.rights import check_rights, script_commands
from tenuto.stores.redis.sentences import delivered, signal_parts
from tenuto.stores.redis.server import examine
from tenuto.stores.redis.timekeeping import Timekeeping, refusal
from tenuto.stores.redis.trees import is_large, parts_of, tree_parts
from tenuto.stores.redis.walks import MOST_TASKS
from tenuto.stores.requests import Request
from tenuto.tasks.clock import Millis, wall_clock
from tenuto.tasks.goal import Tree, same_tree
from tenuto.tasks.lease import Hold
from tenuto.tasks.limits import Limit
from tenuto.tasks.outcome import Answer, Record, Recorded, Step
from tenuto.tasks.signal import Signal

__all__ = ["RedisStore"]

_ANSWERS = {answer.value: answer for answer in Answer}


class RedisStore(Maintenance, Timekeeping, RedisMoney):
    """A store on the server that `url` names."""

    def __init__(self, url: str, *, clock: Callable[[], Millis] = wall_clock) -> None:
        """`clock`: the wall clock stands for the server's; any other one is used as it is."""
        self._address = Address.of(url)
        self.url = self._address.url
        self._clock = None if clock is wall_clock else clock
        self._root = f"{self._address.prefix}store"
        self._client = secrets.token_hex(8)
        self._requests = itertools.count(1)
        self._connections = Connections(self._address)
        self._hints = Hints(self._connections)
        self._scripts = Scripts()
        self._writer: Line | None = None
        self._reader: Line | None = None
        self._process = os.getpid()
        self._opening = threading.Lock()

    # -- opening and closing

    async def open(self, *, create: bool = True) -> None:
        await asyncio.to_thread(self._open, create)

    def _open(self, create: bool) -> None:
        if self._process != os.getpid():
            raise self._closed()
        with self._opening:
            if self._writer is not None:
                return
            connections = Connections(self._address)
            try:
                examine(connections)
                check_rights(connections, script_commands())
                if not create:
                    must_exist(connections)
                self._scripts.load(connections)
            except BaseException:
                connections.close()
                raise
            self._hints.use(connections)
            self._connections = connections
            self._writer = Line(connections, self._scripts, "tenuto-redis-writer", self._hints.tell)
            self._reader = Line(connections, self._scripts, "tenuto-redis-reader")
            self._hints.open()

    async def close(self) -> None:
        if self._process == os.getpid():
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        with self._opening:
            lines, self._writer, self._reader = (self._writer, self._reader), None, None
            self._connections.hurry()
            for line in lines:
                if line is not None:
                    line.close()
            self._hints.close()
            self._connections.close()

    def _closed(self) -> StoreClosed:
        return StoreClosed(f"the store {self.url} is not open: open it first, or keep it open")

    # -- asking

    def _now(self) -> bytes:
        return b"" if self._clock is None else b"%d" % self._clock()

    async def _ask(self, line: Line | None, command: Callable[[None], Any], weight: int = 1) -> Any:
        if line is None or self._process != os.getpid():
            raise self._closed()
        request: Request[None] = Request(command, weight)
        if not line.put(request):
            raise self._closed()
        return await request.future

    async def _read(self, name: str, *given: Any) -> Any:
        """What the script in `lua/reads/` answers, bytes as they came."""
        return await self._ask(self._reader, lambda _: self._scripts.call(f"reads/{name}", self._root, *given))

    async def _fetch(self, command: str, key: str, *given: Any) -> Any:
        """What a plain command on a key of this store answers."""
        return await self._ask(self._reader, lambda _: (command, f"{self._address.prefix}{key}", *given))

    async def _write(
        self, name: str, given: Any, weight: int = 1, who: str = "", number: int = 0, *, once: bool = True
    ) -> Any:
        """What a script that writes answers. It is carried out once, however often it is sent.

        `once=False`: twice is as good, and its answer, which may be large, need not be kept.
        """
        packed = pack(given)
        if once and not who:
            who = f"{self._client}-{next(self._requests)}"

        def command(_: None) -> tuple[Any, ...]:
            return self._scripts.call(name, self._root, self._now(), who, number, packed, self._hints.name)

        return await self._ask(self._writer, command, weight)

    # -- submitting

    async def submit(self, trees: Sequence[Tree], *, connection: Any = None) -> Submitted:
        if connection is not None:
            raise NeedsSql(f"{self.url} cannot submit inside a connection of the caller: it needs SQLite or PostgreSQL")
        answers: list[Submission | None] = [refusal(tree) for tree in trees]
        left = [at for at, answer in enumerate(answers) if answer is None]
        while left:  # again, when what was there already is gone by the time it is looked at
            told = await self._submit([trees[at] for at in left])
            for at, parts in zip(left, told, strict=True):
                if parts is True:
                    answers[at] = Submission(trees[at].root.id, Verdict.CREATED)
                else:
                    answers[at] = await self._answer(trees[at], *parts)
            left = [at for at in left if answers[at] is None]
        return [answer for answer in answers if answer is not None]

    async def _submit(self, trees: Sequence[Tree]) -> list[Any]:
        parts = in_parts(trees, MOST_TASKS)
        answers = await asyncio.gather(*map(self._submit_part, parts, itertools.count()), return_exceptions=True)
        found: list[Any] = []
        for each in answers:
            if isinstance(each, BaseException):
                raise each
            found.extend(each)
        return found

    async def _submit_part(self, trees: Sequence[Tree], ahead: int) -> list[Any]:
        """`ahead`: how many parts come before; they are on their way while this one is encoded."""
        for _ in range(ahead):
            await asyncio.sleep(0)
        given = [tree_parts(tree, await self._stage(parts_of(tree)) if is_large(tree) else None) for tree in trees]
        told, unfinished = await self._write("submit", given, tasks_in(trees))
        await self._finish(unfinished)
        return cast(list[Any], told)

    async def _nodes_of(self, goal: str, names: Sequence[str]) -> dict[str, str]:
        """Task ids by node."""
        found: dict[str, str] = {}
        for first in range(0, len(names), MOST_TASKS):
            some = names[first : first + MOST_TASKS]
            told = await self._fetch("HMGET", f"dag:{goal}:nodes", *some)
            found |= {name: msgspec.json.decode(each)["task"] for name, each in zip(some, told, strict=True)}
        return found

    async def _answer(self, tree: Tree, what: str, root: str, nodes: dict[str, str] | None = None) -> Submission | None:
        match what:
            case "busy" | "again":
                return None
            case "created" if is_large(tree):
                return Submission(root, Verdict.CREATED, nodes=await self._nodes_of(root, [n.id for n in tree.nodes]))
            case "created" | "existing":
                return Submission(root, Verdict(what), nodes=nodes or {})
            case "twice":
                return Submission(root, Verdict.REFUSED, f"the id {root!r} appears twice in one batch")
        stored = await self.task(root)
        if stored is None:
            return None
        goal = await self.goal(root)
        named = {node.node: node for node in goal.nodes if node.node is not None} if goal is not None else {}
        if same_tree(tree, stored, named, goal.edges if goal is not None else ()):
            return Submission(root, Verdict.EXISTING, nodes={name: node.id for name, node in named.items()})
        by = f"the id {root!r}" if what == "taken" else f"the idempotency key {tree.root.idempotency_key!r}"
        detail = f"{by} is taken by {root!r}, which has other content; use another, or submit the same again"
        return Submission(root, Verdict.CONFLICT, detail)

    # -- workers

    async def commit_and_claim(self, exchange: Exchange) -> Exchanged:
        given: dict[str, Any] = {
            "worker": exchange.worker,
            "outcomes": [outcome_parts(outcome) for outcome in exchange.outcomes],
        }
        wanted = exchange.claim
        if wanted is not None and wanted.slots > 0:
            given["claim"] = {
                "agents": sorted(set(wanted.agents)),
                "slots": wanted.slots,
                "lease": wanted.lease,
                "nonce": 1 + secrets.randbelow(2**53 - 2**20),
            }
        weight = len(exchange.outcomes) + 1
        told = await self._write("exchange", given, weight, f"worker:{exchange.worker}", exchange.number)
        if isinstance(told, int):
            raise InvalidInput(f"worker {exchange.worker!r} sent request {exchange.number} after request {told}")
        answers, leases, more, next_due, now, unfinished = told
        await self._finish(unfinished)
        return Exchanged(
            tuple(map(_ANSWERS.__getitem__, answers)),
            tuple(map(lease_of, leases)),
            more,
            None if next_due is False else next_due,
            now,
        )

    async def renew(self, worker: WorkerInfo, holds: Sequence[Hold], lease: Millis) -> Sequence[Renewal]:
        info = dump(replace(worker, seen_at=0))
        given = {"worker": worker.id, "agents": worker.agents, "info": info, "holds": holds, "lease": lease}
        told = await self._write("renew", given, len(holds) + 1, once=False)
        return [
            Renewal(held, paused, tuple(message_of(number, text) for number, text in inbox))
            for held, paused, inbox in told
        ]

    async def record(self, records: Sequence[Record], lease: Millis) -> Sequence[Recorded]:
        given = {"records": [record_parts(record) for record in records], "lease": lease}
        told = await self._write("record", given, len(records) + sum(len(each.steps) for each in records))
        return [recorded(record, *parts) for record, parts in zip(records, told, strict=True)]

    async def transact(self, hold: Hold, step: Step, work: Callable[[Any], bytes], lease: Millis) -> Recorded:
        raise NeedsSql(f"{self.url} has no SQL: a transaction of the task's own needs SQLite or PostgreSQL")

    # -- people

    async def signal(self, signals: Sequence[Signal]) -> Sequence[Delivered]:
        parts = [signal_parts(signal) for signal in signals]
        told = iter(await self._deliver([each for each in parts if not isinstance(each, Delivered)]))
        return [
            each if isinstance(each, Delivered) else delivered(signal, next(told))
            for signal, each in zip(signals, parts, strict=True)
        ]

    async def _deliver(self, given: Sequence[Any]) -> list[Any]:
        """What became of each, in scripts of a few milliseconds, one after the other. They are answered once all that
        follows from them has been done."""
        answers: list[Any] = []
        while len(answers) < len(given):
            part = given[len(answers) : len(answers) + MOST_TASKS]
            told, unfinished, wish = await self._write("signal", part, len(part))
            answers += told
            if wish:
                answers.append(await self._plan(*wish))
            await self._finish(unfinished)
        return answers

    async def put_limit(self, limit: Limit) -> None:
        limit.check()
        await self._write("settings", {"define": limit_parts(limit)})

    async def drop_limit(self, key: str) -> bool:
        return cast(bool, await self._write("settings", {"drop": key}))

    async def put_weight(self, owner: str, weight: float) -> None:
        if not 0.001 <= weight <= 1000.0:
            raise InvalidInput(f"the weight of owner {owner!r} must lie between 0.001 and 1000, not {weight}")
        await self._write("settings", {"owner": owner, "weight": weight})

    # -- hints

    def listen(self, listener: Callable[[Hint], None]) -> Callable[[], None]:
        return self._hints.listen(listener)
