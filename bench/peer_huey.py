"""huey on SQLite with fsync on: at most once, no lease, no events; a task that is lost in a crash stays lost.

A worker is a thread of huey's consumer, which dequeues one task per transaction and stores its result in another.
More threads do not make it faster on SQLite (one writer, one interpreter lock), so its best is shown: one thread
for "10 at once", ten for "100 at once". There is no bulk submission: tasks are enqueued one after the other.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.plan import Size, Subject

__all__ = ["SUBJECT"]

_TEXT = "x" * 60


def _queue(path: Path) -> tuple[Any, Any, list[float]]:
    """huey, its task, and the list to which each run adds the instant at which it started."""
    from huey import SqliteHuey

    queue = SqliteHuey("bench", filename=str(path), fsync=True)
    started: list[float] = []

    @queue.task(name="bench")
    def work(n: int, text: str) -> dict[str, Any]:
        started.append(time.monotonic())
        return {"n": n, "text": text, "started": started[-1]}

    return queue, work, started


class _Consumer:
    """huey's own consumer, in threads of this process."""

    def __init__(self, queue: Any, workers: int) -> None:
        self.consumer = queue.create_consumer(workers=workers, periodic=False, check_worker_health=False)

    def __enter__(self) -> _Consumer:
        from huey.consumer import Consumer

        assert isinstance(self.consumer, Consumer)
        for _, thread in self.consumer.worker_threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.consumer.stop_flag.set()
        for _, thread in self.consumer.worker_threads:
            thread.join(10)


def submit(directory: Path, size: Size) -> Mapping[str, float]:
    queue, work, _ = _queue(directory / "huey.db")
    began = time.perf_counter()
    for _ in range(size.singles):
        work(1, _TEXT)
    single = size.singles / (time.perf_counter() - began)
    queue.storage.close()
    return {"submit.single": single, "submit.bulk": single}


def drain(directory: Path, size: Size) -> Mapping[str, float]:
    values = {}
    count = size.drain // 4
    for metric, workers in (("drain.1x10", 1), ("drain.1x100", 10)):
        queue, work, started = _queue(directory / f"{metric}.db")
        for _ in range(count):
            work(1, _TEXT)
        began = time.perf_counter()
        with _Consumer(queue, workers):
            _wait_for_results(queue, count)
            values[metric] = count / (time.perf_counter() - began)
        assert len(started) == count, f"huey ran {len(started)} of {count} tasks"
        queue.storage.close()
    values["drain.2x10"] = _drain_two(directory, count)
    return values


def _wait_for_results(queue: Any, count: int) -> None:
    until = time.monotonic() + 60
    while queue.storage.result_store_size() < count:
        if time.monotonic() > until:
            raise RuntimeError(f"huey has {queue.storage.result_store_size()} results of {count} after 60 s")
        time.sleep(0.02)


def _drain_two(directory: Path, count: int) -> float:
    path = directory / "two.db"
    queue, work, _ = _queue(path)
    for _ in range(count):
        work(1, _TEXT)
    children = [_spawn(path, 1) for _ in range(2)]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    began = time.perf_counter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    _wait_for_results(queue, count)
    taken = time.perf_counter() - began
    for child in children:
        child.communicate(timeout=20)
    queue.storage.close()
    return count / taken


def _spawn(path: Path, workers: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", f"from bench.peer_huey import serve; serve({str(path)!r}, {workers})"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def latency(directory: Path, size: Size) -> Mapping[str, float]:
    """With huey's defaults: an idle consumer polls, at first every 0.1 s, then less and less often."""
    samples = min(size.samples, 30)
    queue, work, started = _queue(directory / "huey.db")
    delays = []
    with _Consumer(queue, 1):
        for sample in range(samples):
            time.sleep(0.13)
            began = time.monotonic()
            work(1, _TEXT)
            while len(started) <= sample:
                time.sleep(0.001)
            delays.append((started[sample] - began) * 1_000)
    queue.storage.close()
    delays.sort()
    return {"start.inside.p50": delays[len(delays) // 2], "start.inside.p95": delays[int(len(delays) * 0.95)]}


def serve(path: str, workers: int) -> None:
    """A worker process: announces itself, waits for the word to begin, ends when its input does."""
    queue, _, _ = _queue(Path(path))
    print(os.getpid(), flush=True)
    sys.stdin.readline()
    with _Consumer(queue, workers):
        sys.stdin.read()
    queue.storage.close()


SUBJECT = Subject(
    name="huey",
    durability="WAL, fsync at every commit; at most once",
    requires=("huey",),
    runs={"submit": submit, "drain": drain, "latency": latency},
)
