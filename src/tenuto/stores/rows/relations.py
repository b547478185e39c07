"""Keys, edges and waits: what ties tasks to names and to each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from tenuto.stores.rows.claims import ClaimRows
from tenuto.stores.rows.layout import codes, dump
from tenuto.stores.rows.session import Clock, Statements
from tenuto.stores.tables import Link
from tenuto.tasks.clock import Millis
from tenuto.tasks.states import State
from tenuto.tasks.waits import task_topic

__all__ = ["RelationRows"]

_ids = msgspec.json.Decoder(list[str])
_links = msgspec.json.Decoder(list[Link])
_END = task_topic("")


class RelationRows(ClaimRows):
    """Idempotency and unique keys, edges, waits."""

    def __init__(self, statements: Statements, clock: Clock) -> None:
        super().__init__(statements, clock)
        self._keys: dict[tuple[str, str], str | None] = {}
        self._new_keys: list[tuple[str, str, str, Millis]] = []

    # -- keys

    def keyed(self, owner: str, key: str) -> str | None:
        name = (owner, key)
        if name not in self._keys:
            self._keys[name] = self.value("key", owner, key)
        return self._keys[name]

    def add_key(self, owner: str, key: str, task_id: str) -> None:
        self._keys[owner, key] = task_id
        self._new_keys.append((owner, key, task_id, self.now))

    def write_keys(self) -> None:
        """Writes idempotency keys."""
        if self._new_keys:
            keys, self._new_keys = self._new_keys, []
            self.run_rows("insert_keys", keys)

    def drop_keys(self, before: Millis, limit: int) -> int:
        self.write_keys()
        self._keys.clear()
        return self.count("drop_keys", before, limit)

    def unique_holder(self, key: str, states: Sequence[State], but: str = "") -> str | None:
        self.write_tasks()
        holder: str | None = self.value("unique_holder", key, dump(codes(states)), but)
        return holder

    # -- goals

    def add_links(self, goal: str, links: Iterable[Link]) -> None:
        rows = [(goal, link.source, link.target, link.when.value) for link in links]
        self.run_rows("insert_links", rows)

    def links(self, goal: str) -> list[Link]:
        return _links.decode(self.value("links_of_goal", goal))

    def links_from(self, source: str) -> list[Link]:
        return _links.decode(self.value("links_from", source))

    def links_to(self, target: str) -> list[Link]:
        return _links.decode(self.value("links_to", target))

    # -- waits

    def expect(self, task_id: str, topics: Iterable[str]) -> None:
        row = self.row(task_id)
        wanted = list(dict.fromkeys(topics))
        if row is None or not wanted:
            return
        row.waits = True
        for topic in wanted:
            if topic.startswith(_END):
                self.changes.awaited.append(topic.removeprefix(_END))
                source = self.rows.get(topic.removeprefix(_END))
                if source is not None:
                    source.awaited = True
        self.run_rows("insert_waits", [(topic, row.number) for topic in wanted])

    def expecting(self, topic: str) -> list[str]:
        if topic.startswith(_END):
            source = self.rows.get(topic.removeprefix(_END))
            if source is not None and not source.awaited:
                return []
        self.write_new()
        return _ids.decode(self.value("waiting_for", topic))

    def met(self, task_id: str, topic: str) -> bool:
        row = self.row(task_id)
        if row is None or not row.waits:
            return False
        return bool(self.count("delete_wait", topic, row.number))

    def expect_nothing(self, task_id: str) -> None:
        row = self.row(task_id)
        if row is not None and row.waits:
            row.waits = False
            self.run("delete_waits", row.number)
