"""The bus: who is called, with what, in which order, and that nobody is in anybody else's way."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest

from tenuto.errors import InvalidInput
from tenuto.supervisor.event_bus import OrchestratorEventBus
from tenuto.supervisor.event_store import EventStore
from tenuto.supervisor.events import OrchestratorEvent, Severity

PATIENCE = 60
ERROR = OrchestratorEvent.AGENT_ERROR


class Shop(StrEnum):
    SOLD = "SOLD"


def into(seen: list[Any], field: str) -> Callable[..., None]:
    """A callback that remembers one field of each payload."""

    def remember(**payload: Any) -> None:
        seen.append(payload[field])

    return remember


@pytest.fixture
def bus() -> Iterator[OrchestratorEventBus]:
    with OrchestratorEventBus() as made:
        yield made


def callback_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("tenuto callback")]


def test_it_records_and_calls_in_the_same_order(bus: OrchestratorEventBus) -> None:
    seen: list[int] = []
    bus.register_callback(ERROR, into(seen, "number"))

    def emit(agent: str) -> None:
        for number in range(300):
            bus.emit(ERROR, agent_name=agent, number=f"{agent}{number}")

    threads = [threading.Thread(target=emit, args=(agent,)) for agent in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert bus.drain(PATIENCE) == []
    assert seen == [record.number for record in bus.event_store.query(limit=1000)]
    assert len(seen) == 900


def test_a_callback_gets_what_its_signature_takes(bus: OrchestratorEventBus) -> None:
    got: dict[str, Any] = {}

    def some(agent_name: str, event_date: str, event_time: str, missing: str = "default") -> None:
        got["some"] = (agent_name, datetime.fromisoformat(f"{event_date}T{event_time}"), missing)

    def everything(agent_name: str, **others: object) -> None:
        got["everything"] = (agent_name, others)

    def nothing() -> None:
        got["nothing"] = True

    class Page:
        def method(self, *, error_message: str) -> None:
            got["method"] = error_message

    for callback in (some, everything, nothing, Page().method):
        bus.register_callback("agent_error", callback)
    bus.emit(ERROR, agent_name="db", error_message="no route")
    assert bus.drain(PATIENCE) == []

    name, moment, default = got["some"]
    assert (name, default) == ("db", "default")
    assert abs((datetime.now(UTC) - moment).total_seconds()) < PATIENCE
    agent, others = got["everything"]
    assert agent == "db"
    assert others.keys() == {"error_message", "event_date", "event_time", "event_name"}
    assert (got["nothing"], got["method"]) == (True, "no route")


def test_callbacks_get_the_whole_payload_the_history_a_part_of_it(bus: OrchestratorEventBus) -> None:
    lengths: list[int] = []
    bus.register_callback(ERROR, lambda error_message: lengths.append(len(error_message)))
    bus.emit(ERROR, error_message="x" * 10_000)
    bus.drain(PATIENCE)
    assert lengths == [10_000]
    assert len(bus.event_store.query()[0].error_message) < 256


def test_a_callback_that_raises_hurts_no_other_and_is_called_again(
    bus: OrchestratorEventBus, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def raises(agent_name: str) -> None:
        seen.append(f"raises {agent_name}")
        if agent_name == "a":
            raise ValueError("spoilt")
        sys.exit(3)

    def needs(what_nobody_sends: str) -> None:
        seen.append(what_nobody_sends)

    bus.register_callback(ERROR, raises)
    bus.register_callback(ERROR, needs)
    bus.register_callback(ERROR, into(seen, "agent_name"))
    for name in "ab":
        bus.emit(ERROR, agent_name=name)
    assert bus.drain(PATIENCE) == []

    assert sorted(seen) == ["a", "b", "raises a", "raises b"]
    assert {stats.name.rpartition(".")[2]: stats.failed for stats in bus.callbacks()} == {
        "raises": 2,
        "needs": 2,
        "remember": 0,
    }
    said = capsys.readouterr().err
    assert "spoilt" in said
    assert "what_nobody_sends" in said


def test_a_callback_that_hangs_is_in_nobodys_way_and_takes_no_memory_without_end() -> None:
    hold, seen = threading.Event(), threading.Event()

    def hangs() -> None:
        hold.wait()

    def counts(number: int) -> None:
        if number == 4_999:
            seen.set()

    bus = OrchestratorEventBus(max_waiting=100)
    bus.register_callback(ERROR, hangs)
    try:
        for number in range(5_000):
            bus.emit(ERROR, number=number)
            if number == 4_990:
                bus.register_callback(ERROR, counts)
        assert seen.wait(PATIENCE)
        began = time.monotonic()
        assert [name.rpartition(".")[2] for name in bus.drain(1.0)] == ["hangs"]
        assert time.monotonic() - began < PATIENCE
        [stats] = [each for each in bus.callbacks() if each.name.endswith("hangs")]
        assert stats.waiting <= 102
        assert stats.left_out >= 4_890
        assert [name.rpartition(".")[2] for name in bus.close(0.2)] == ["hangs"]
    finally:
        hold.set()


def test_draining_waits_for_what_callbacks_emit_themselves(bus: OrchestratorEventBus) -> None:
    seen: list[str] = []

    def first(depth: int) -> None:
        time.sleep(0.05)
        bus.emit(OrchestratorEvent.AGENT_MESSAGE, depth=depth)
        assert bus.drain(0.01) == []  # in a callback it does not wait for itself

    def second(depth: int) -> None:
        seen.append(str(depth))
        if depth < 3:
            bus.emit(ERROR, depth=depth + 1)

    bus.register_callback(ERROR, first)
    bus.register_callback(OrchestratorEvent.AGENT_MESSAGE, second)
    bus.emit(ERROR, depth=1)
    assert bus.drain(PATIENCE) == []
    assert seen == ["1", "2", "3"]


def test_coroutine_functions_are_callbacks_too(bus: OrchestratorEventBus) -> None:
    seen: list[str] = []

    async def remember(agent_name: str) -> None:
        seen.append(agent_name)

    bus.register_callback(ERROR, remember)
    bus.emit(ERROR, agent_name="a")
    bus.drain(PATIENCE)
    assert seen == ["a"]


def test_registered_twice_is_called_once_and_not_at_all_after_it_was_taken_away(bus: OrchestratorEventBus) -> None:
    seen: list[str] = []
    for _ in range(2):
        bus.register_callback(ERROR, into(seen, "agent_name"))
    assert len(bus.callbacks()) == 2  # two functions

    one = into(seen, "agent_name")
    bus.register_callback(ERROR, one)
    bus.register_callback(ERROR, one)
    assert len(bus.callbacks()) == 3
    bus.unregister_callback(ERROR, one)
    bus.unregister_callback(ERROR, one)
    bus.emit(ERROR, agent_name="a")
    bus.drain(PATIENCE)
    assert seen == ["a", "a"]


def test_another_history_goes_on_with_the_numbers_of_the_first(bus: OrchestratorEventBus) -> None:
    for _ in range(3):
        bus.emit(ERROR, agent_name="a")
    bus.event_store = store = EventStore(capacity=10)
    bus.emit(ERROR, agent_name="b")
    assert bus.event_store is store
    assert [record.seq for record in bus.event_store.query()] == [4]
    assert store.stats().emitted == 1


def test_events_of_tasks_reach_callbacks_and_are_not_in_this_history(bus: OrchestratorEventBus) -> None:
    seen: list[str] = []
    asked: list[str] = []
    bus.on_listening(asked.append)
    assert not bus.listens_to(OrchestratorEvent.TASK_DONE)
    bus.register_callback(OrchestratorEvent.TASK_DONE, into(seen, "task_id"))
    assert bus.listens_to("task_done")
    bus.emit(OrchestratorEvent.TASK_DONE, task_id="task-1")
    bus.drain(PATIENCE)
    assert (seen, asked) == (["task-1"], ["TASK_DONE"])
    assert bus.event_store.query() == []


def test_own_events_and_severities(bus: OrchestratorEventBus) -> None:
    seen: list[int] = []
    bus.register_callback(Shop.SOLD, into(seen, "amount"))
    bus.emit(Shop.SOLD, amount=3, severity=Severity.WARNING)
    bus.drain(PATIENCE)
    [record] = bus.event_store.query(severity="warning")
    assert (seen, record.category, record.data) == ([3], "other", {"amount": 3})


def test_many_commands_do_not_push_out_what_agents_did() -> None:
    with OrchestratorEventBus() as bus:
        bus.emit(ERROR, agent_name="a")
        for _ in range(3_000):
            bus.emit(OrchestratorEvent.COMMAND_EXECUTED, command="stats")
        assert len(bus.event_store.query("AGENT_ERROR")) == 1
        assert len(bus.event_store.query(category="command", limit=9_000)) == 1_000


def test_no_thread_is_left_behind() -> None:
    before = callback_threads()
    with OrchestratorEventBus() as bus:
        for number in range(20):
            bus.register_callback(ERROR, lambda number=number: None)
        assert callback_threads() == before  # none before the first event
        for _ in range(3):
            bus.emit(ERROR)
            assert len(callback_threads()) > len(before)
            assert bus.rest(PATIENCE) == []
            assert callback_threads() == before
        bus.emit(ERROR)
        assert sum(each.called for each in bus.callbacks()) >= 60
    assert callback_threads() == before
    bus.emit(ERROR)
    assert callback_threads() == before


def test_a_thread_with_nothing_to_do_ends_and_the_next_event_starts_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenuto.supervisor.callbacks._LINGER", 0.001)
    seen: list[int] = []
    with OrchestratorEventBus() as bus:
        bus.register_callback(ERROR, into(seen, "number"))
        for number in range(300):
            bus.emit(ERROR, number=number)
            time.sleep(0.001 * (number % 3))
        assert bus.drain(PATIENCE) == []
    assert seen == list(range(300))


def test_what_cannot_be_a_callback_is_refused_at_once(bus: OrchestratorEventBus) -> None:
    def by_position(name: str, /) -> None: ...

    for callback, said in ((by_position, "by position"), (3, "must be a function"), (dict, "does not tell")):
        with pytest.raises(InvalidInput, match=said):
            bus.register_callback(ERROR, callback)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="there is no event"):
        bus.emit("AGENT_EXPLODED")
    with pytest.raises(InvalidInput, match="event_store must be"):
        bus.event_store = []  # type: ignore[assignment]
