"""The reference model and an engine side by side: every request goes to both, and everything visible is compared."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import replace

from tenuto.errors import TenutoError
from tenuto.stores.base import Exchanged, Store, TaskFilter
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.event import Event
from tenuto.tasks.task import Kind, Task
from tests.conformance.engines import Engine
from tests.conformance.stage import VirtualClock
from tests.property import money

__all__ = ["Pair", "Snapshot", "same"]

T = TypeVar("T")
Snapshot = dict[str, Any]
EVERYTHING = 100_000


def same(answer: Any) -> Any:
    """`answer` without what an engine draws by itself: nonces (whether there is one still counts) and cursors."""
    if isinstance(answer, Task):
        return replace(answer, nonce=min(answer.nonce, 1))
    if isinstance(answer, Event):
        return replace(answer, cursor="")
    if isinstance(answer, Exchanged):
        return replace(answer, leases=tuple(replace(lease, nonce=min(lease.nonce, 1)) for lease in answer.leases))
    if isinstance(answer, dict):
        return {key: same(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [same(value) for value in answer]
    return answer


async def look(store: Store) -> Snapshot:
    """Everything that can be seen."""
    tasks = (await store.tasks(TaskFilter(), limit=EVERYTHING)).tasks
    seen: Snapshot = {
        "tasks": list(tasks),
        "events": list((await store.events(limit=EVERYTHING)).events),
        "limits": list(await store.limits()),
        "stats": dict(await store.stats()),
        "schedules": list(await store.schedules()),
        "agents": list(await store.agents()),
        "workers": list(await store.workers()),
    }
    seen |= await money.look(store, list(tasks))
    for task in tasks:
        seen[f"journal of {task.id}"] = list(await store.journal(task.id))
        seen[f"inbox of {task.id}"] = list(await store.inbox(task.id))
        seen[f"why {task.id}"] = await store.why(task.id)
        if task.kind is Kind.GOAL:
            goal = await store.goal(task.id)
            assert goal is not None
            seen[f"goal {task.id}"] = (goal.task, goal.nodes, goal.edges)
    for root in {task.root for task in tasks}:
        seen[f"blobs of {root}"] = await store.blobs(root, ["a" * 40, "b" * 40], 1_000_000)
    return seen


class Pair:
    """A model, and an engine beside it unless there is `None`."""

    def __init__(self, engine: Engine | None) -> None:
        self.clock = VirtualClock()
        self.model: Store = MemoryStore(clock=self.clock)
        self.engine = engine
        self.store: Store | None = None
        self._runner = asyncio.Runner()
        self._folders: list[Path] = []
        self.run(self.model.open())
        if engine is not None:
            self._open(engine, self._folder())

    def _folder(self) -> Path:
        self._folders.append(Path(tempfile.mkdtemp(prefix="tenuto-property-")))
        return self._folders[-1]

    def _open(self, engine: Engine, folder: Path) -> None:
        self.store = engine.make(folder, self.clock)
        self.run(self.store.open())

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(coroutine)

    def both(
        self, ask: Callable[[Store], Awaitable[T]], ask_engine: Callable[[Store], Awaitable[T]] | None = None
    ) -> tuple[T | None, T | None]:
        """Asks the model and the engine, and compares what they say, also when it is an error."""

        async def answer(store: Store, question: Callable[[Store], Awaitable[T]]) -> tuple[T | None, str]:
            try:
                return await question(store), ""
            except TenutoError as error:
                return None, type(error).__name__

        model, refused = self.run(answer(self.model, ask))
        if self.store is None:
            return model, model
        engine, refused_too = self.run(answer(self.store, ask_engine or ask))
        assert refused_too == refused, "both accept or both refuse"
        assert same(engine) == same(model), "the engine answers like the model"
        return model, engine

    def compare(self) -> Snapshot:
        """What the model shows; the engine shows the same."""
        model = self.run(look(self.model))
        if self.store is not None:
            engine = self.run(look(self.store))
            for what in model.keys() | engine.keys():
                assert same(engine.get(what)) == same(model.get(what)), f"{what} differs"
        return model

    def restart(self, *, crash: bool) -> None:
        """Closes the engine and opens it again; `crash`: what is on the disk at this moment is all that survives."""
        if self.store is None or self.engine is None or not self.engine.durable:
            return
        folder = self._folders[-1]
        if crash:
            survivor = self._folder()
            shutil.copytree(folder, survivor, dirs_exist_ok=True, copy_function=_copy, ignore=_not_on_disk)
            self.run(self.store.close())
            folder = survivor
        else:
            self.run(self.store.close())
        self._open(self.engine, folder)

    def close(self) -> None:
        self.run(self.model.close())
        if self.store is not None:
            self.run(self.store.close())
        self._runner.close()
        for folder in self._folders:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(source: str, target: str) -> str:
    return shutil.copyfile(source, target)


def _not_on_disk(folder: str, names: list[str]) -> list[str]:
    """Sockets, and the index of the log, which a machine that went down does not keep."""
    return [name for name in names if name.endswith("-shm") or not (Path(folder) / name).is_file()]
