"""What the same work costs with nothing around it: bare threads and processes, bare queues, ZeroMQ that echoes.

As a program (`python -m bench.supervisor.raw FOLDER`) it is the server that echoes.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from queue import SimpleQueue
from typing import Any

from bench.places import Place
from bench.plan import Size, Subject
from bench.supervisor.asking import ROWS, round_trips, served

__all__ = ["SUBJECT"]

_AT_ONCE = 10


def nothing() -> None:
    """What each agent does."""


def agents(place: Place, size: Size) -> Mapping[str, float]:
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload([__name__])
    first = forked.Process(target=nothing)
    first.start()
    first.join()
    return {
        "agents.thread": _per_second(threading.Thread, size.thread_agents),
        "agents.process": _per_second(forked.Process, size.process_agents),
    }


def _per_second(kind: Any, count: int) -> float:
    began = time.perf_counter()
    running: deque[Any] = deque()
    for _ in range(count):
        if len(running) == _AT_ONCE:
            running.popleft().join()
        running.append(kind(target=nothing))
        running[-1].start()
    for each in running:
        each.join()
    return count / (time.perf_counter() - began)


def events(place: Place, size: Size) -> Mapping[str, float]:
    """Each event into a ring, and into a queue for each callback with a thread that takes it out."""
    return {f"events.{count}": _emit_cost(count, size.emits) for count in (0, 1, 10)}


def _emit_cost(callbacks: int, count: int) -> float:
    ring: deque[object] = deque(maxlen=1_000)
    queues: list[SimpleQueue[Any]] = [SimpleQueue() for _ in range(callbacks)]
    threads = [threading.Thread(target=_take, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    seconds = 0.0
    for _ in range(count // 100):
        began = time.perf_counter()
        for number in range(100):
            event = {"agent_name": "agent", "message": number, "at": time.time()}
            ring.append(event)
            for queue in queues:
                queue.put(event)
        seconds += time.perf_counter() - began
        while not all(queue.empty() for queue in queues):
            time.sleep(0)
    for queue in queues:
        queue.put(None)
    for thread in threads:
        thread.join()
    return seconds / (count // 100 * 100) * 1_000_000


def _take(queue: SimpleQueue[Any]) -> None:
    while queue.get() is not None:
        pass


def commands(place: Place, size: Size) -> Mapping[str, float]:
    import zmq

    with served("bench.supervisor.raw", str(place.directory)) as address:
        context = zmq.Context()
        with context.socket(zmq.REQ) as asker:
            asker.connect(address)

            def ask() -> object:
                asker.send(b'{"command":"ps"}')
                return json.loads(asker.recv())

            found = round_trips(ask, size.questions)
        context.term()
    return found


SUBJECT = Subject(
    "bare",
    "threads, multiprocessing with its fork server, queues, ZeroMQ: nothing is recorded or watched; 10 at once",
    requires=("zmq",),
    runs={"agents": agents, "events": events, "commands": commands},
)


def main(folder: str) -> None:
    import zmq

    context = zmq.Context()
    router: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
    address = f"ipc://{folder}/echo.sock"
    router.bind(address)
    print(address, flush=True)
    threading.Thread(target=_echo, args=(router,), daemon=True).start()
    sys.stdin.read()


def _echo(router: Any) -> None:
    while True:
        *route, body = router.recv_multipart()
        json.loads(body)
        router.send_multipart([*route, json.dumps(ROWS).encode()])


if __name__ == "__main__":
    main(*sys.argv[1:])
