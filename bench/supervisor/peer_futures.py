"""concurrent.futures runs the same functions, in threads or processes that it uses again; multiprocessing's manager
answers the same questions."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing.managers import BaseManager
from typing import Any

from bench.places import Place
from bench.plan import Size, Subject
from bench.supervisor.asking import ROWS, round_trips
from bench.supervisor.raw import nothing

__all__ = ["SUBJECT"]

_AT_ONCE = 10


class Board:
    """What is asked."""

    def ps(self) -> list[dict[str, Any]]:
        return ROWS


class Boards(BaseManager):
    """Its server."""


Boards.register("Board", Board)


def agents(place: Place, size: Size) -> Mapping[str, float]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        threads = _per_second(pool, size.thread_agents)
    with ProcessPoolExecutor(_AT_ONCE, max_tasks_per_child=1) as processes:  # each agent has a process of its own
        return {"agents.thread": threads, "agents.process": _per_second(processes, size.process_agents)}


def _per_second(pool: Executor, count: int) -> float:
    pool.submit(nothing).result()
    began = time.perf_counter()
    for future in [pool.submit(nothing) for _ in range(count)]:
        future.result()
    return count / (time.perf_counter() - began)


def commands(place: Place, size: Size) -> Mapping[str, float]:
    with Boards() as manager:
        board: Any = manager.Board()  # type: ignore[attr-defined]
        return round_trips(board.ps, size.questions)


SUBJECT = Subject(
    "futures",
    "concurrent.futures: a pool of 10 threads; a process for each call, with spawn; a multiprocessing manager",
    requires=(),
    runs={"agents": agents, "commands": commands},
)
