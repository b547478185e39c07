"""The history: what it keeps, how it is asked, and that it does not grow."""

from __future__ import annotations

import threading
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.supervisor.event_policies import BucketRingStore, RingBufferStore
from tenuto.supervisor.event_store import EventStore
from tenuto.supervisor.events import OrchestratorEvent


def seqs(store: EventStore, **filters: object) -> list[int]:
    return [record.seq for record in store.query(**filters)]  # type: ignore[arg-type]


def test_it_keeps_the_newest_and_tells_them_in_order() -> None:
    store = EventStore(capacity=3)
    for _ in range(5):
        store.append("AGENT_STARTED", "a")
    assert seqs(store) == [3, 4, 5]
    assert seqs(store, limit=2) == [4, 5]
    assert seqs(store, limit=0) == []


def test_every_filter_narrows_and_names_are_taken_in_any_case() -> None:
    store = EventStore()
    store.append("AGENT_STARTED", "a")  # 1
    store.append("AGENT_ERROR", "a")  # 2
    store.append("AGENT_ERROR", "b")  # 3
    store.append("COMMAND_EXECUTED")  # 4

    assert seqs(store, event_name="agent_error") == [2, 3]
    assert seqs(store, event_name=OrchestratorEvent.AGENT_ERROR, agent_name="b") == [3]
    assert seqs(store, agent_name="a") == [1, 2]
    assert seqs(store, category="AGENT", severity="error") == [2, 3]
    assert seqs(store, severity="Error", agent_name="a") == [2]
    assert seqs(store, category="command") == [4]
    assert seqs(store, event_name="never_heard_of") == seqs(store, agent_name="nobody") == []


def test_a_reader_goes_on_where_it_stands_and_misses_nothing() -> None:
    store = EventStore(event_policies={"AGENT_HEARTBEAT": RingBufferStore(100)})
    for number in range(10):
        store.append("AGENT_HEARTBEAT" if number % 2 else "AGENT_MESSAGE", "a")
    seen: list[int] = []
    while page := store.query(after_seq=seen[-1] if seen else 0, limit=3):
        seen += [record.seq for record in page]
    assert seen == list(range(1, 11))


def test_a_policy_of_a_name_has_a_place_of_its_own() -> None:
    store = EventStore(capacity=2, event_policies={"agent_heartbeat": RingBufferStore(3)})
    store.append("AGENT_ERROR", "a")  # 1
    for _ in range(9):
        store.append("AGENT_HEARTBEAT", "b")
    assert seqs(store) == [1, 8, 9, 10]
    assert seqs(store, event_name="AGENT_HEARTBEAT", agent_name="a") == []
    assert store.stats().kept_by_policy == {"AGENT_HEARTBEAT": 3}


@pytest.mark.parametrize("policy", [BucketRingStore(capacity=2), BucketRingStore(per_agent_capacity=2)])
def test_buckets_keep_so_many_of_each_agent(policy: BucketRingStore) -> None:
    store = EventStore(event_policies={OrchestratorEvent.AGENT_HEARTBEAT: policy})
    for name in ["quiet", *["loud"] * 50]:
        store.append("AGENT_HEARTBEAT", name)
    assert seqs(store) == [1, 50, 51]
    assert seqs(store, agent_name="quiet") == [1]
    assert len(policy) == 3


def test_agents_that_come_and_go_do_not_fill_the_buckets_without_end() -> None:
    policy = BucketRingStore(capacity=1)
    store = EventStore(event_policies={"AGENT_HEARTBEAT": policy})
    for number in range(10_500):
        store.append("AGENT_HEARTBEAT", f"agent-{number}")
    assert len(policy) == 10_000
    assert seqs(store, agent_name="agent-0") == []


_EVENTS = st.lists(
    st.tuples(st.sampled_from(["AGENT_ERROR", "AGENT_HEARTBEAT", "INIT"]), st.sampled_from([None, "a", "b"]))
)


@given(
    _EVENTS, st.integers(1, 5), st.integers(0, 6), st.sampled_from([None, "AGENT_ERROR"]), st.sampled_from([None, "a"])
)
def test_it_answers_like_a_plain_list(
    events: list[tuple[str, str | None]], capacity: int, limit: int, name: str | None, agent: str | None
) -> None:
    store = EventStore(capacity, event_policies={"AGENT_HEARTBEAT": BucketRingStore(1)})
    everything = [store.append(*event) for event in events]
    beats = [record for record in everything if record.event_name == "AGENT_HEARTBEAT"]
    held = {who: [record for record in beats if record.agent_name == who][-1:] for who in (None, "a", "b")}
    plain = [record for record in everything if record.event_name != "AGENT_HEARTBEAT"][-capacity:]
    wanted = [
        record
        for record in sorted(
            [*plain, *(record for kept in held.values() for record in kept)], key=lambda each: each.seq
        )
        if name in (None, record.event_name) and agent in (None, record.agent_name)
    ]
    assert store.query(name, agent, limit=limit) == wanted[len(wanted) - min(limit, len(wanted)) :]
    assert store.query(name, agent, after_seq=2, limit=limit) == [each for each in wanted if each.seq > 2][:limit]


def test_a_million_events_take_no_more_memory_than_the_first_thousands() -> None:
    store = EventStore(capacity=2_000, event_policies={"AGENT_HEARTBEAT": BucketRingStore(2)})

    def emit(start: int, end: int) -> None:
        for number in range(start, end):
            store.append("AGENT_HEARTBEAT" if number % 3 else "AGENT_MESSAGE", f"agent-{number % 500}", {"n": number})

    tracemalloc.start()
    try:
        emit(0, 60_000)
        before, _ = tracemalloc.get_traced_memory()
        emit(60_000, 120_000)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    emit(120_000, 1_000_000)
    assert after < before * 1.1
    assert store.stats().emitted == 1_000_000
    assert store.stats().kept == 3_000


def test_a_history_of_nothing_keeps_nothing_and_still_counts() -> None:
    store = EventStore(capacity=0, event_policies={"AGENT_HEARTBEAT": BucketRingStore(0), "INIT": RingBufferStore(0)})
    for name in ("AGENT_ERROR", "AGENT_HEARTBEAT", "INIT"):
        store.append(name, "a")
    assert store.query() == []
    assert (store.stats().emitted, store.stats().kept) == (3, 0)


def test_readers_and_writers_of_many_threads_do_not_disturb_each_other() -> None:
    store = EventStore(capacity=50)
    failures: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        try:
            while not over.is_set():
                found = seqs(store, limit=1_000)
                assert found == sorted(found)
                seqs(store, severity="info")
                seqs(store, after_seq=10)
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            failures.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    writers = [
        threading.Thread(target=lambda: [store.append("AGENT_STARTED", f"a{n % 7}") for n in range(5_000)])
        for _ in range(3)
    ]
    for thread in readers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    over.set()
    for thread in readers:
        thread.join()
    assert failures == []
    assert store.last_seq == 15_000


def test_what_makes_no_sense_is_named() -> None:
    for make, name in (
        (lambda: EventStore(capacity=-1), "capacity"),
        (lambda: EventStore(payload_max_bytes=-1), "payload_max_bytes"),
        (lambda: EventStore(event_policies={"AGENT_HARTBEAT": RingBufferStore(1)}), "did you mean AGENT_HEARTBEAT"),
        (lambda: EventStore(event_policies={"INIT": "all"}), "is no policy"),  # type: ignore[dict-item]
        (BucketRingStore, "either capacity or per_agent_capacity"),
        (lambda: RingBufferStore(True), "capacity"),
        (lambda: EventStore().query(limit=-1), "limit"),
    ):
        with pytest.raises(InvalidInput, match=name):
            make()
    shared = RingBufferStore(1)
    with pytest.raises(InvalidInput, match="make one for each"):
        EventStore(event_policies={"INIT": shared, "SHUTDOWN": shared})
