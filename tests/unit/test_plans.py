"""Goals built in Python and read from JSON: what they become, and what each mistake is answered with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tenuto.errors import InvalidInput, NotFound, TenutoError, TooLarge
from tenuto.plans import LARGEST_PLAN, goal, read_plan, tree_of
from tenuto.tasks.blobs import digest
from tenuto.tasks.goal import Edge, When
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.task import TaskSpec


def spec(id: str, **fields: Any) -> TaskSpec:
    return TaskSpec(id=id, agent="worker", **fields)


# -- the builder -------------------------------------------------------------------------------------------


def test_nodes_and_edges_in_the_order_of_adding() -> None:
    building = goal("House", id="house")
    ground = building.add(spec("ground"))
    walls = building.add(spec("task-1"), id="walls", after=ground)
    building.add(spec("roof"), after=[walls, "ground"])
    building.add(spec("insurance"), after=walls, when="failed")

    tree = building.tree()

    assert tree.root.id == "house"
    assert tree.root.title == "House"
    assert [node.id for node in tree.nodes] == ["ground", "walls", "roof", "insurance"]
    assert tree.edges == (
        Edge("ground", "walls"),
        Edge("walls", "roof"),
        Edge("ground", "roof"),
        Edge("walls", "insurance", When.FAILED),
    )


def test_edges_of_several_kinds_into_one_node() -> None:
    building = goal(id="g")
    first, second = building.add(spec("first")), building.add(spec("second"))
    last = building.add(spec("last"), after=first)
    building.connect(second, last, when="finished")
    assert building.tree().edges == (Edge("first", "last"), Edge("second", "last", When.FINISHED))


def test_nodes_take_on_owner_and_priority_where_they_have_none() -> None:
    building = goal(id="g", owner_id="ada", priority=7)
    building.add(spec("plain"))
    building.add(spec("own", owner="bob", priority=-1))
    plain, own = building.tree().nodes
    assert (plain.owner, plain.priority) == ("ada", 7)
    assert (own.owner, own.priority) == ("bob", -1)


def test_large_payloads_are_stored_apart_and_once() -> None:
    payload = msgspec.Raw(json.dumps("x" * 100_000).encode())
    building = goal(id="g")
    building.add(spec("a", payload=payload))
    building.add(spec("b", payload=payload))
    tree = building.tree()
    assert tree.blobs == {digest(bytes(payload)): bytes(payload)}
    assert all(len(bytes(node.payload)) < 100 for node in tree.nodes)


def test_a_payload_that_looks_like_a_reference_is_stored_apart() -> None:
    payload = msgspec.Raw(b'{"$blob":"' + b"0" * 40 + b'"}')
    tree = tree_of(spec("a", payload=payload))
    assert list(tree.blobs.values()) == [bytes(payload)]


def test_mistakes_of_the_builder_are_told_at_once() -> None:
    building = goal(id="g")
    node = building.add(spec("a"))
    with pytest.raises(InvalidInput, match="goal 'g' has a node 'a' already"):
        building.add(spec("a"))
    with pytest.raises(InvalidInput, match="the node 'a' belongs to the goal 'g'"):
        goal(id="h").add(spec("b"), after=node)
    with pytest.raises(InvalidInput, match="when must be 'done', 'failed' or 'finished', not 'later'"):
        building.add(spec("c"), after=node, when="later")
    with pytest.raises(InvalidInput, match="takes what agent"):
        building.add("a")  # type: ignore[arg-type]
    assert len(building) == 1


def test_mistakes_of_the_whole_are_told_by_tree() -> None:
    with pytest.raises(InvalidInput, match="has no nodes"):
        goal(id="g").tree()

    dangling = goal(id="g")
    dangling.add(spec("a"), after="nobody")
    with pytest.raises(InvalidInput, match="points at 'nobody'"):
        dangling.tree()

    circle = goal(id="g")
    circle.add(spec("a"), after="b")
    circle.add(spec("b"), after="a")
    with pytest.raises(InvalidInput, match="has a cycle"):
        circle.tree()

    twice = goal(id="g")
    twice.add(spec("a"))
    twice.add(spec("b"), after=["a", "a"])
    with pytest.raises(InvalidInput, match="two edges 'a' -> 'b'"):
        twice.tree()


# -- plans -------------------------------------------------------------------------------------------------


def test_a_plan_is_read_with_all_its_fields(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(
        json.dumps(
            {
                "id": "review",
                "title": "Review",
                "owner_id": "ada",
                "tasks": [
                    {
                        "id": "scan",
                        "agent": "scanner",
                        "payload": {"path": "."},
                        "attempt_timeout": 1.5,
                        "timeout": 60,
                        "run_at": "2030-01-02T03:04:05Z",
                        "retry": {"max_retries": 2, "base": 0.5, "fatal": ["ValueError"]},
                        "limits": ["disk"],
                        "tags": ["nightly"],
                        "metadata": {"ticket": 7},
                    },
                    {"id": "write", "agent": "writer", "after": ["scan"], "max_retries": 0},
                    {"id": "sorry", "agent": "writer", "after": [{"id": "scan", "when": "failed"}]},
                ],
            }
        )
    )

    tree = read_plan(path).tree()

    scan, write, _ = tree.nodes
    assert (tree.root.id, tree.root.title, scan.owner) == ("review", "Review", "ada")
    assert bytes(scan.payload) == b'{"path":"."}'
    assert (scan.attempt_timeout, scan.timeout, scan.run_at) == (1_500, 60_000, 1_893_553_445_000)
    assert scan.retry == RetryPolicy(max_retries=2, base=500, fatal=("ValueError",))
    assert (scan.limits, scan.tags, scan.metadata) == (("disk",), ("nightly",), {"ticket": 7})
    assert write.retry == RetryPolicy(max_retries=0)
    assert tree.edges == (Edge("scan", "write"), Edge("scan", "sorry", When.FAILED))


TASK = {"id": "a", "agent": "x"}


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ({}, "plan: Object missing required field `tasks`"),
        ({"tasks": []}, "plan: tasks is empty"),
        ({"tasks": [TASK], "dag": 1}, "plan: Object contains unknown field `dag`"),
        ({"tasks": [{**TASK, "payloda": 1}]}, "plan, tasks[0]: Object contains unknown field `payloda`"),
        ({"tasks": [{"id": "a"}]}, "plan, tasks[0]: Object missing required field `agent`"),
        ({"tasks": [{**TASK, "priority": "high"}]}, "plan, tasks[0].priority: Expected `int`, got `str`"),
        ({"tasks": [TASK, TASK]}, "plan, tasks[1].id: 'a' is also the id of tasks[0]"),
        ({"tasks": [{**TASK, "after": ["b"]}]}, "plan, tasks[0].after[0]: there is no task 'b'"),
        ({"tasks": [{**TASK, "after": ["a"]}]}, "has a cycle: a -> a"),
        ({"tasks": [{**TASK, "after": [{"id": "a", "when": "soon"}]}]}, "tasks[0].after[0].when: Invalid enum value"),
        ({"tasks": [{**TASK, "id": "a\0b"}]}, "plan, tasks[0]: id 'a\\x00b' has a control or unprintable character"),
        ({"tasks": [{**TASK, "title": "a\0b"}]}, "plan, tasks[0]: task 'a': title"),
        ({"tasks": [{**TASK, "agent": ""}]}, "plan, tasks[0]: agent is empty"),
        ({"tasks": [{**TASK, "id": "a.b"}]}, "plan, tasks[0]: id 'a.b' contains a dot"),
        ({"tasks": [{**TASK, "timeout": -1}]}, "plan, tasks[0]: timeout must be between 0 seconds and 100 years"),
        ({"tasks": [{**TASK, "run_at": "2030-01-02T03:04:05"}]}, "plan, tasks[0]: run_at has no time zone"),
        ({"tasks": [{**TASK, "delay": 1, "run_at": 1}]}, "plan, tasks[0]: delay and run_at exclude each other"),
        ({"tasks": [{**TASK, "max_retries": -1}]}, "plan, tasks[0]: max_retries must be between 0"),
        ({"tasks": [TASK], "id": "a b"}, "plan: id 'a b' contains a space"),
    ],
)
def test_a_bad_plan_is_refused_with_one_sentence_that_says_where(plan: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_plan(plan)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is not JSON: Input data was truncated"),
        (b'{"tasks": [', "is not JSON: Input data was truncated"),
        (b'{\n  "tasks": [}\n', "is not JSON: invalid character, in line 2, column 13"),
        (b"\0\0\0\0", "is not JSON: invalid character, in line 1, column 1"),
        (b'{"tasks": [{"id": "\xff", "agent": "x"}]}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "begins with a byte order mark: save it as UTF-8 without one"),
        ("{}".encode("utf-16"), "begins with a byte order mark"),
        (b"[]", ": Expected `object`, got `array`"),
        (b'{"tasks": [{"id": "a", "agent": "x", "payload": ' + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_file_is_refused_with_its_name_and_the_place(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(content)
    with pytest.raises(TenutoError) as caught:
        read_plan(path)
    assert str(caught.value).startswith(f"plan {path}")
    assert sentence in str(caught.value)


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such file"):
        read_plan(tmp_path / "plan.json")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_plan(tmp_path)


def test_a_plan_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_PLAN + 1)
    with pytest.raises(TooLarge, match="more than the limit of 67,108,864"):
        read_plan(path)
