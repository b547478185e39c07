"""Ray: an actor in a process for each agent, ten at once; an actor that is asked."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import Any

from bench.places import Place
from bench.plan import Size, Subject
from bench.supervisor.asking import ROWS, round_trips

__all__ = ["SUBJECT"]

_AT_ONCE = 10


class Actor:
    """Does nothing, or answers."""

    def run(self) -> None:
        """What each agent does."""

    def ps(self) -> list[dict[str, Any]]:
        return ROWS


def _ray() -> Any:
    import ray

    ray.init(num_cpus=_AT_ONCE, include_dashboard=False, log_to_driver=False, logging_level="error")
    return ray


def agents(place: Place, size: Size) -> Mapping[str, float]:
    ray = _ray()
    actor = ray.remote(num_cpus=1)(Actor)
    ray.get(actor.remote().run.remote())
    count = min(size.process_agents, 50)
    began = time.perf_counter()
    running: deque[Any] = deque()
    for _ in range(count):
        if len(running) == _AT_ONCE:
            _end(ray, *running.popleft())
        each = actor.remote()
        running.append((each, each.run.remote()))
    for each, result in running:
        _end(ray, each, result)
    seconds = time.perf_counter() - began
    ray.shutdown()
    return {"agents.process": count / seconds}


def _end(ray: Any, actor: Any, result: Any) -> None:
    ray.get(result)
    ray.kill(actor)


def commands(place: Place, size: Size) -> Mapping[str, float]:
    ray = _ray()
    board = ray.remote(Actor).remote()
    found = round_trips(lambda: ray.get(board.ps.remote()), size.questions)
    ray.shutdown()
    return found


SUBJECT = Subject(
    "Ray",
    "an actor, a process, for each agent; 10 at once",
    requires=("ray",),
    runs={"agents": agents, "commands": commands},
)
