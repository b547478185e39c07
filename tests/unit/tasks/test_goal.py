"""Goals: what is refused, when an edge is met, how a goal ends, and what a retry revives."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tenuto.errors import InvalidInput
from tenuto.tasks.goal import (
    MOST_NODES,
    SKIPPED,
    Edge,
    Fate,
    Tree,
    When,
    check_tree,
    edge_fate,
    outcome_of,
    revivable,
    same_tree,
)
from tenuto.tasks.limits import Limit
from tenuto.tasks.states import FINAL, State
from tenuto.tasks.task import Kind, Task, TaskSpec
from tests.unit.tasks.make import BOOM, NOW, by_name, node, spec

DONE, FAILED, CANCELLED = State.DONE, State.FAILED, State.CANCELLED


def tree(names: str, *edges: Edge, **root: Any) -> Tree:
    return Tree(TaskSpec(**{"id": "goal-1", **root}), tuple(spec(name) for name in names.split()), edges)


# -- edges -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "source", "fate"),
    [
        (When.DONE, DONE, Fate.MET),
        (When.DONE, FAILED, Fate.NEVER),
        (When.DONE, CANCELLED, Fate.NEVER),
        (When.FAILED, DONE, Fate.NEVER),
        (When.FAILED, FAILED, Fate.MET),
        (When.FAILED, CANCELLED, Fate.NEVER),
        (When.FINISHED, DONE, Fate.MET),
        (When.FINISHED, FAILED, Fate.MET),
        (When.FINISHED, CANCELLED, Fate.MET),
    ],
)
def test_the_end_of_its_source_decides_an_edge(when: When, source: State, fate: Fate) -> None:
    assert edge_fate(when, source) is fate


@given(st.sampled_from(When), st.sampled_from(sorted(set(State) - FINAL)))
def test_an_edge_is_open_while_its_source_is_not_final(when: When, source: State) -> None:
    assert edge_fate(when, source) is Fate.OPEN


# -- what is refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (tree("a b", Edge("a", "b"), Edge("b", "a")), r"cycle: [ab] -> [ab] -> [ab]"),
        (tree("a", Edge("a", "a")), "cycle: a -> a"),
        (tree("a b", Edge("a", "c")), "'c', which is not among its nodes"),
        (tree("a b", Edge("c", "b")), "'c', which is not among its nodes"),
        (tree("a b a"), "two nodes 'a'"),
        (tree("a b", Edge("a", "b"), Edge("a", "b", When.FAILED)), "two edges 'a' -> 'b'"),
        (tree("a", agent="echo"), "names the agent 'echo'"),
        (tree("a.b"), "contains a dot"),
        (tree("a", id="g\x00"), "control or unprintable"),
        (Tree(spec(""), ()), "1 to 255 characters"),
        (Tree(TaskSpec(id="task-1")), "names no agent"),
        (Tree(spec(), edges=(Edge("a", "b"),)), "edges but no nodes"),
        (Tree(TaskSpec(id="goal-1"), (TaskSpec(id="a"),)), "node 'a' names no agent"),
        (Tree(spec(), limits=(Limit("api", rate=0),)), "rate"),
        (Tree(spec(priority=10**12)), "priority"),
        (Tree(spec(deadline=-1)), "deadline"),
        (Tree(spec(timeout=0)), "timeout"),
        (Tree(spec(tags=("",))), "tag"),
        (Tree(spec(tags=tuple(f"tag-{n}" for n in range(65)))), "65 tags"),
        (Tree(spec(limits=tuple(f"limit-{n}" for n in range(65)))), "65 limits"),
        (Tree(spec(limits=("db", "api", "db"))), "twice"),
        (Tree(spec(owner="o" * 256)), "owner"),
        (Tree(spec(idempotency_key="k" * 256)), "idempotency_key"),
        (Tree(spec(owner="a\nb")), "owner"),
        (Tree(spec(title="a\x00b")), "title"),
    ],
)
def test_a_tree_that_makes_no_sense_is_refused_with_one_sentence(wrong: Tree, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refused:
        check_tree(wrong)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_a_long_cycle_is_shown_in_part() -> None:
    names = [f"n{number}" for number in range(1_000)]
    edges = [Edge(a, b) for a, b in zip(names, [*names[1:], names[0]], strict=True)]
    with pytest.raises(InvalidInput, match="…"):
        check_tree(tree(" ".join(names), *edges))


def test_the_largest_goal_is_checked_in_seconds_and_a_larger_one_refused() -> None:
    names = [f"n{number}" for number in range(MOST_NODES)]
    edges = tuple(Edge(a, b) for a, b in pairwise(names))
    nodes = tuple(spec(name) for name in names)
    largest = Tree(TaskSpec(id="goal-1"), nodes, edges)
    began = time.perf_counter()
    check_tree(largest)
    assert time.perf_counter() - began < 60
    with pytest.raises(InvalidInput, match="50,001 nodes"):
        check_tree(replace(largest, nodes=(*nodes, spec("one-more"))))


DAGS = st.integers(1, 8).flatmap(
    lambda size: st.tuples(
        st.just(size),
        st.lists(
            st.tuples(st.integers(0, size - 1), st.integers(0, size - 1), st.sampled_from(When)),
            max_size=20,
            unique_by=lambda edge: edge[:2],
        ),
    )
)


@given(DAGS)
def test_exactly_the_graphs_without_a_cycle_are_accepted(graph: tuple[int, list[tuple[int, int, When]]]) -> None:
    size, pairs = graph
    reach = {source: {target for start, target, _ in pairs if start == source} for source in range(size)}
    for _ in range(size):
        for source in range(size):
            reach[source] |= {far for near in reach[source] for far in reach[near]}
    wanted = tree(" ".join(f"n{i}" for i in range(size)), *(Edge(f"n{a}", f"n{b}", when) for a, b, when in pairs))
    if any(source in reach[source] for source in range(size)):
        with pytest.raises(InvalidInput, match="cycle"):
            check_tree(wanted)
    else:
        check_tree(wanted)


# -- how a goal ends ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("states", "edges", "outcome"),
    [
        ({"a": DONE, "b": DONE}, [Edge("a", "b")], DONE),
        ({"a": FAILED}, [], FAILED),
        ({"a": FAILED, "b": "skipped"}, [Edge("a", "b")], FAILED),
        ({"a": FAILED, "b": DONE}, [Edge("a", "b", When.FAILED)], DONE),
        ({"a": FAILED, "b": DONE}, [Edge("a", "b", When.FINISHED)], DONE),
        ({"a": FAILED, "b": FAILED}, [Edge("a", "b", When.FAILED)], FAILED),
        ({"a": FAILED, "b": FAILED, "c": DONE}, [Edge("a", "b", When.FAILED), Edge("b", "c", When.FAILED)], FAILED),
        ({"a": CANCELLED}, [], CANCELLED),
        ({"a": CANCELLED, "b": DONE}, [Edge("a", "b", When.FINISHED)], DONE),
        ({"a": CANCELLED, "b": "skipped"}, [Edge("a", "b")], CANCELLED),
        ({"a": CANCELLED, "b": FAILED}, [], FAILED),
        ({"a": DONE, "b": "skipped"}, [Edge("a", "b", When.FAILED)], DONE),
    ],
)
def test_how_a_goal_ends(states: dict[str, State | str], edges: list[Edge], outcome: State) -> None:
    nodes = by_name(
        [
            node(name, CANCELLED, "skipped") if state == "skipped" else node(name, State(state))
            for name, state in states.items()
        ]
    )
    ended, reason = outcome_of(nodes, edges)
    assert ended is outcome
    assert bool(reason) == (outcome is not DONE)


def test_the_reason_of_a_failed_goal_names_a_node_and_its_error() -> None:
    nodes = by_name([node("a", FAILED), node("b", FAILED), node("c", DONE)])
    assert outcome_of(nodes, []) == (FAILED, f"node a failed: {BOOM.type}: {BOOM.message} (and 1 more)")


# -- retry -------------------------------------------------------------------------------------------------


def test_a_retry_revives_what_failed_and_what_was_skipped_for_it_and_nothing_else() -> None:
    nodes = by_name(
        [
            node("read", DONE),
            node("write", FAILED),
            node("publish", CANCELLED, "skipped"),
            node("announce", CANCELLED, "skipped"),
            node("apologise", DONE),
        ]
    )
    edges = [
        Edge("read", "write"),
        Edge("write", "publish"),
        Edge("publish", "announce"),
        Edge("read", "announce"),
    ]
    assert revivable(nodes, edges) == {"write": 0, "publish": 1, "announce": 1}


def test_a_retry_of_a_goal_whose_failures_were_handled_revives_nothing() -> None:
    nodes = by_name([node("a", FAILED), node("rescue", DONE), node("after", CANCELLED, "skipped")])
    assert revivable(nodes, [Edge("a", "rescue", When.FAILED), Edge("a", "after")]) == {}


def test_nodes_that_a_person_cancelled_and_what_needs_them_stay_as_they_are() -> None:
    nodes = by_name([node("a", CANCELLED, "by ann"), node("b", CANCELLED, "skipped"), node("c", FAILED)])
    assert revivable(nodes, [Edge("a", "b")]) == {"c": 0}


def test_a_node_that_was_skipped_because_nothing_failed_can_be_met_again() -> None:
    nodes = by_name([node("a", FAILED), node("b", FAILED), node("rescue", CANCELLED, "skipped")])
    edges = [Edge("a", "rescue"), Edge("b", "rescue", When.FAILED)]
    assert revivable(nodes, edges) == {"a": 0, "b": 0, "rescue": 2}


def test_one_named_node_is_revived_with_what_hangs_on_it() -> None:
    nodes = by_name([node("a", FAILED), node("b", FAILED), node("c", CANCELLED, "skipped")])
    assert revivable(nodes, [Edge("a", "c")], only="a") == {"a": 0, "c": 1}
    assert revivable(nodes, [Edge("a", "c")], only="b") == {"b": 0}


@given(DAGS, st.data())
def test_a_retry_revives_only_what_may_run_again_and_counts_open_edges(
    graph: tuple[int, list[tuple[int, int, When]]], data: st.DataObject
) -> None:
    size, pairs = graph
    edges = [Edge(f"n{a}", f"n{b}", when) for a, b, when in pairs if a < b]
    kinds = st.sampled_from(["done", "failed", "cancelled", "skipped"])
    drawn = {f"n{number}": data.draw(kinds) for number in range(size)}
    nodes: dict[str, Task] = {
        name: node(name, CANCELLED, "skipped") if kind == "skipped" else node(name, State(kind), "")
        for name, kind in drawn.items()
    }
    revived = revivable(nodes, edges)
    for name, unmet in revived.items():
        assert drawn[name] in ("failed", "skipped")
        mine = [edge for edge in edges if edge.target == name]
        assert unmet == sum(edge.source in revived for edge in mine)
        for edge in mine:
            assert edge.source in revived or edge_fate(edge.when, nodes[edge.source].state) is Fate.MET
    for name, kind in drawn.items():
        if kind == "skipped" and name not in revived:
            assert any(
                edge.target == name
                and edge.source not in revived
                and edge_fate(edge.when, nodes[edge.source].state) is Fate.NEVER
                for edge in edges
            )


# -- the same tree again -----------------------------------------------------------------------------------


def stored(name: str, **fields: Any) -> Task:
    return replace(node(name, State.READY), **fields)


def test_the_same_goal_again_is_the_same_and_another_is_not() -> None:
    wanted = tree("a b", Edge("a", "b"))
    goal = replace(node("goal-1", State.WAITING), kind=Kind.GOAL, agent="", node=None)
    nodes = {"a": stored("a"), "b": stored("b")}
    assert same_tree(wanted, goal, nodes, [Edge("a", "b")])
    assert not same_tree(wanted, goal, nodes, [Edge("a", "b", When.FAILED)])
    assert not same_tree(wanted, goal, nodes, [])
    assert not same_tree(wanted, goal, {"a": stored("a")}, [Edge("a", "b")])
    assert not same_tree(wanted, goal, {"a": stored("a"), "b": stored("b", agent="other")}, [Edge("a", "b")])
    assert not same_tree(Tree(spec("goal-1")), goal, {}, [])


def test_a_skipped_reason_is_recognised_by_how_it_begins() -> None:
    assert node("a", CANCELLED, "skipped").reason.startswith(SKIPPED)
    assert node("a", CANCELLED).finished_at == NOW
