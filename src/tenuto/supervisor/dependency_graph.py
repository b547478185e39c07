"""Which agent needs which others, and in what order they start. Pure; usable alone.

    graph = DependencyGraph()
    for name in ("api", "cache", "db"):
        graph.add_agent(name)
    graph.add_dependency("api", ["db", "cache"])
    graph.add_dependency("cache", ["db"])
    graph.order()                           # ["db", "cache", "api"]

Dependencies may be declared before the agents they name. `validate` finds what is wrong with all of them at once.
"""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from tenuto.errors import InvalidInput

__all__ = ["DependencyGraph"]


class DependencyGraph:
    """Agents by name, and what each depends on. Safe from any thread."""

    def __init__(self) -> None:
        self._position: dict[str, int] = {}
        """of each agent, in the order in which they were added"""
        self._needs: dict[str, dict[str, None]] = {}
        self._added = 0
        self._lock = threading.Lock()

    def add_agent(self, name: str) -> None:
        """Adds an agent. Raises `InvalidInput` when there is one of that name."""
        with self._lock:
            if name in self._position:
                raise InvalidInput(f"there is an agent {name!r} already: give this one another name")
            self._added += 1
            self._position[name] = self._added

    def remove_agent(self, name: str) -> None:
        """Forgets an agent, and what it depends on."""
        with self._lock:
            self._position.pop(name, None)
            self._needs.pop(name, None)

    def add_dependency(self, name: str, depends_on: Iterable[str]) -> None:
        """Says that `name` starts only when all of `depends_on` are ready. Adds to what was said before.

        Raises `InvalidInput` for an agent that depends on itself.
        """
        needed = [depends_on] if isinstance(depends_on, str) else list(depends_on)
        if name in needed:
            raise InvalidInput(f"agent {name!r} cannot depend on itself")
        with self._lock:
            self._needs.setdefault(name, {}).update(dict.fromkeys(needed))

    def depends_on(self, name: str) -> Sequence[str]:
        """What `name` waits for, directly."""
        with self._lock:
            return tuple(self._needs.get(name, ()))

    def dependents(self, name: str) -> Sequence[str]:
        """The agents that wait for `name`, directly."""
        with self._lock:
            return tuple(each for each, needed in self._needs.items() if name in needed)

    def validate(self) -> None:
        """Raises `InvalidInput` that names the agents of each unknown and of a circular dependency."""
        known, needs = self._copied()
        wrong = []
        for name, needed in needs.items():
            if name not in known:
                wrong.append(f"agent {name!r} has dependencies and is not registered{_hint(name, known)}")
            wrong += [
                f"agent {name!r} depends on {each!r}, which is not registered{_hint(each, known)}"
                for each in needed
                if each not in known
            ]
        if wrong:
            raise InvalidInput("; ".join(wrong))
        self.order()

    def order(self) -> Sequence[str]:
        """All agents as they are started: each after what it depends on, else as they were added.

        Raises `InvalidInput` for a circular dependency.
        """
        position, needs = self._copied()
        sorter: TopologicalSorter[str] = TopologicalSorter()
        for name in position:
            sorter.add(name, *(each for each in needs.get(name, ()) if each in position))
        try:
            sorter.prepare()
        except CycleError as error:
            circle = " → ".join(repr(each) for each in reversed(error.args[1]))
            raise InvalidInput(f"circular dependency: {circle}") from None
        found: list[str] = []
        ready: list[tuple[int, str]] = []
        while sorter.is_active():
            for name in sorter.get_ready():
                heapq.heappush(ready, (position[name], name))
            _, name = heapq.heappop(ready)
            sorter.done(name)
            found.append(name)
        return found

    def _copied(self) -> tuple[dict[str, int], dict[str, tuple[str, ...]]]:
        """All positions, and all needs: others may add agents meanwhile."""
        with self._lock:
            return dict(self._position), {name: tuple(needed) for name, needed in self._needs.items()}


def _hint(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
