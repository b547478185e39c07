"""Ids: unique across threads and forks, in the order they were drawn, and what people may choose."""

from __future__ import annotations

import os
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.tasks.ids import LONGEST_NAME, check_id, check_name, child_id, new_id, node_id, root_of


def test_a_new_id_is_a_uuid_of_version_7_behind_its_prefix() -> None:
    text = new_id()
    parsed = uuid.UUID(text.removeprefix("task-"))
    assert re.fullmatch(r"task-[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", text)
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert check_id(new_id("worker")).startswith("worker-")


def test_ids_sort_in_the_order_in_which_they_were_drawn() -> None:
    drawn = [new_id() for _ in range(50_000)]
    assert drawn == sorted(set(drawn))


def test_ids_are_unique_across_threads() -> None:
    start = threading.Barrier(8)

    def draw() -> list[str]:
        start.wait(timeout=60)
        return [new_id() for _ in range(5_000)]

    with ThreadPoolExecutor(8) as threads:
        batches = [future.result(timeout=60) for future in [threads.submit(draw) for _ in range(8)]]
    assert len({each for batch in batches for each in batch}) == 40_000
    for batch in batches:
        assert batch == sorted(batch)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_ids_are_unique_across_forks() -> None:
    new_id()  # the parent has state that a child would inherit
    pipes = []
    for _ in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, "\n".join(new_id() for _ in range(200)).encode())
            finally:
                os._exit(0)
        os.close(writing)
        pipes.append((child, reading))
    drawn = [new_id() for _ in range(200)]
    for child, reading in pipes:
        with os.fdopen(reading) as lines:
            drawn += lines.read().split("\n")
        os.waitpid(child, 0)
    assert len(set(drawn)) == 800


def test_a_childs_id_follows_from_its_parent_step_and_epoch() -> None:
    first = child_id("root", "root.parent", "spawn#0")
    assert first == child_id("root", "root.parent", "spawn#0")
    assert root_of(first) == "root"
    others = {child_id("root", "root.other", "spawn#0"), child_id("root", "root.parent", "spawn#1")}
    others.add(child_id("root", "root.parent", "spawn#0", epoch=1))
    assert first not in others
    assert len(others) == 3
    check_name(first, "id")


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_children_of_different_steps_have_different_ids(a: str, b: str, c: str, d: str) -> None:
    if "\x1f" not in a + b + c + d:  # names are printable
        assert (child_id("r", a, b) == child_id("r", c, d)) == ((a, b) == (c, d))


def test_root_and_node_ids() -> None:
    assert node_id("goal-1", "a") == "goal-1.a"
    assert root_of("goal-1.a") == "goal-1"
    assert root_of("task-1") == "task-1"


@pytest.mark.parametrize("name", ["a", "ü", "名前", "a b", "a/b", "x" * LONGEST_NAME, "🙂"])
def test_names_are_any_visible_text(name: str) -> None:
    assert check_name(name, "tag") == name


@pytest.mark.parametrize("name", ["", "a\x00b", "a\nb", "\u200b", "\x7f", "x" * (LONGEST_NAME + 1), "\ud800", None, 7])
def test_what_is_no_visible_text_is_no_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="tag"):
        check_name(name, "tag")


@pytest.mark.parametrize("task_id", ["a.b", ".", "a b", " a", "a/b", "../x", ""])
def test_what_people_may_not_choose_as_an_id(task_id: str) -> None:
    with pytest.raises(InvalidInput, match="id"):
        check_id(task_id)


@pytest.mark.parametrize("task_id", ["invoice-42", "größe", "a:b", "often@2025-06-01T08:00:00Z"])
def test_what_people_may_choose_as_an_id(task_id: str) -> None:
    assert check_id(task_id) == task_id
