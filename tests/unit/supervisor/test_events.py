"""Events: their names, and the record that is kept of one."""

from __future__ import annotations

import copy
import pickle
from enum import Enum, StrEnum, auto

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.supervisor.event_store import EventStore
from tenuto.supervisor.events import OrchestratorEvent, category_of, event_name_of, severity_of
from tenuto.supervisor.payloads import kept
from tenuto.tasks.event import EventKind


class Shop(StrEnum):
    SOLD = "sold"


class Numbered(Enum):
    OPENED = auto()
    CLOSED = auto()


def test_every_kind_of_task_event_has_its_name_on_the_bus() -> None:
    assert {f"TASK_{kind.name}" for kind in EventKind} == {
        event.value for event in OrchestratorEvent if category_of(event) == "task"
    }


def test_an_event_is_named_by_itself_by_its_text_or_by_an_enum_of_the_program() -> None:
    assert event_name_of(OrchestratorEvent.AGENT_ERROR) == "AGENT_ERROR"
    assert event_name_of("agent_error") == "AGENT_ERROR"
    assert event_name_of(Shop.SOLD) == "SOLD"
    assert [event_name_of(each) for each in Numbered] == ["OPENED", "CLOSED"]  # two such enums have the same values
    store = EventStore()
    store.append(event_name_of(Numbered.CLOSED))
    assert len(store.query(Numbered.CLOSED)) == 1


def test_a_typing_error_is_answered_with_the_name_that_was_meant() -> None:
    with pytest.raises(InvalidInput, match="did you mean AGENT_ERROR"):
        event_name_of("AGENT_EROR")


def test_category_and_severity_follow_from_the_name() -> None:
    assert (category_of(OrchestratorEvent.COMMAND_EXECUTED), severity_of("COMMAND_EXECUTED")) == ("command", "info")
    assert (category_of("AGENT_ERROR"), severity_of(OrchestratorEvent.AGENT_ERROR)) == ("agent", "error")
    assert (category_of("INIT"), category_of("SOLD")) == ("orchestrator", "other")


def test_the_fields_of_a_payload_are_attributes_of_its_record() -> None:
    record = EventStore().append("AGENT_ERROR", "db", {"error_message": "no route", "attempt": 3})

    assert (record.agent_name, record.error_message, record.attempt) == ("db", "no route", 3)
    assert record.event_name == OrchestratorEvent.AGENT_ERROR
    assert record.document()["data"] == {"error_message": "no route", "attempt": 3}
    with pytest.raises(AttributeError, match="has no field 'message': it has error_message, attempt"):
        _ = record.message
    assert pickle.loads(pickle.dumps(record)) == copy.copy(record) == record


def test_a_record_keeps_the_payload_as_it_was() -> None:
    values = [1]
    record = EventStore().append("AGENT_MESSAGE", "a", {"message": values})
    values.append(2)
    assert record.message == [1]


class Rude:
    def __repr__(self) -> str:
        raise RuntimeError("not today")


@pytest.mark.parametrize("value", [{1, 2}, object(), Rude(), "\ud800", 2**70, float("nan"), b"\xff", ValueError("x")])
def test_what_json_cannot_hold_is_kept_as_text(value: object) -> None:
    content, _ = kept({"value": value, "other": 1}, 256)
    assert msgspec.json.decode(content)["other"] == 1


def test_a_payload_that_contains_itself_is_kept_too() -> None:
    endless: list[object] = []
    endless.append(endless)
    assert len(kept({"value": endless}, 256)[0]) <= 256


def test_a_payload_that_is_too_long_is_cut_where_it_is_longest() -> None:
    content, cut = kept({"error_message": "é" * 10_000, "code": 7}, 256)
    data = msgspec.json.decode(content)
    assert cut
    assert 240 <= len(content) <= 256
    assert data["code"] == 7
    assert data["error_message"].endswith("é…")


def test_a_traceback_is_kept_whole_or_not_at_all() -> None:
    told = {"error_message": "m" * 150, "traceback": "t" * 100, "where": "setup"}
    assert msgspec.json.decode(kept(told, 1_000).content) == told
    content, cut = kept(told, 256)
    assert cut
    assert msgspec.json.decode(content) == {"error_message": "m" * 150, "where": "setup"}


@given(st.dictionaries(st.text(max_size=90), st.text() | st.lists(st.integers()) | st.none()), st.integers(0, 300))
def test_no_payload_is_kept_longer_than_its_limit(payload: dict[str, object], limit: int) -> None:
    content, cut = kept(payload, limit)
    assert len(content) <= max(limit, 2)
    decoded = msgspec.json.decode(content)
    assert cut or decoded == payload
