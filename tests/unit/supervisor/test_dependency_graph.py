"""The order in which agents start, and dependencies that make no sense."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import InvalidInput
from tenuto.supervisor.dependency_graph import DependencyGraph


def graph(*names: str, **needs: list[str]) -> DependencyGraph:
    made = DependencyGraph()
    for name, needed in needs.items():
        made.add_dependency(name, needed)
    for name in names:
        made.add_agent(name)
    return made


def test_each_comes_after_what_it_needs_else_as_it_was_registered() -> None:
    assert graph("api", "z", "cache", "db", "a", api=["db", "cache"], cache=["db"]).order() == [
        "z",
        "db",
        "cache",
        "api",
        "a",
    ]


def test_who_needs_whom() -> None:
    made = graph("a", "b", "c", a=["b"], c=["b"])
    made.add_dependency("a", "c")
    assert made.depends_on("a") == ("b", "c")
    assert made.dependents("b") == ("a", "c")
    made.remove_agent("a")
    assert made.order() == ["b", "c"]


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (graph("a", "b", "c", a=["b"], b=["c"], c=["a"]), "circular dependency: 'a' → 'b' → 'c' → 'a'"),
        (
            graph("api", "cache", api=["cahce"]),
            "'api' depends on 'cahce', which is not registered (did you mean 'cache'?)",
        ),
        (graph("api", apy=["api"]), "agent 'apy' has dependencies and is not registered (did you mean 'api'?)"),
    ],
)
def test_what_makes_no_sense_names_the_agents(made: DependencyGraph, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"agent|circular") as caught:
        made.validate()
    found = str(caught.value)
    if found.startswith("circular"):
        assert sorted(found.split("'")[1::2][:3]) == ["a", "b", "c"]
        assert found.split("'")[1] == found.split("'")[-2]
    else:
        assert sentence in found


def test_an_agent_of_itself_and_one_twice() -> None:
    made = graph("a")
    with pytest.raises(InvalidInput, match="'a' cannot depend on itself"):
        made.add_dependency("a", ["a"])
    with pytest.raises(InvalidInput, match="there is an agent 'a' already"):
        made.add_agent("a")


@given(st.lists(st.sets(st.integers(0, 11)), min_size=12, max_size=12))
def test_any_graph_without_circles_has_an_order_that_fits(needs: list[set[int]]) -> None:
    made = DependencyGraph()
    for number, needed in enumerate(needs):
        made.add_agent(str(number))
        made.add_dependency(str(number), [str(each) for each in needed if each < number])
    made.validate()
    order = made.order()
    assert sorted(order) == sorted(map(str, range(12)))
    for number, needed in enumerate(needs):
        assert all(order.index(str(each)) < order.index(str(number)) for each in needed if each < number)


def test_agents_may_be_added_while_others_look() -> None:
    # Given
    made = DependencyGraph()
    added = 20_000

    def add() -> None:
        for number in range(added):
            made.add_agent(f"a{number}")
            made.add_dependency(f"a{number}", ["a0"] if number else [])

    adding = threading.Thread(target=add)
    adding.start()
    # When
    while adding.is_alive():
        made.validate()
        made.dependents("a0")
    # Then
    assert len(made.order()) == added
