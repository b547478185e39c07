"""Imports are resolved to files of the tree, and circles among them are found."""

from hypothesis import given
from hypothesis import strategies as st

from tenuto.review.imports import Resolver, cycles
from tenuto.review.source import Import, When

TREE = [
    "src/app/__init__.py",
    "src/app/core.py",
    "src/app/sub/__init__.py",
    "src/app/sub/leaf.py",
    "src/app/sub/leaf.pyi",
    "tests/helper.py",
    "tests/json.py",
    "tests/test_core.py",
    "tools/script.py",
    "tools/main.go",
]


def targets(path: str, module: str, names: list[str] | None = None, when: When = "load") -> list[str]:
    loaded, late = Resolver(TREE, "").edges({path: [Import(module, names or [], when)]})
    return [TREE[target] for _, target in (loaded if when == "load" else late)]


def test_absolute_imports_mean_modules_or_what_is_in_them() -> None:
    assert targets("tests/test_core.py", "app.core") == ["src/app/core.py"]
    assert targets("tests/test_core.py", "app.core", ["function"]) == ["src/app/core.py"]
    assert targets("tests/test_core.py", "app", ["core", "VERSION"]) == ["src/app/__init__.py", "src/app/core.py"]
    assert targets("tests/test_core.py", "app.sub", ["*"]) == ["src/app/sub/__init__.py"]
    assert targets("tests/test_core.py", "src.app.core") == ["src/app/core.py"]


def test_relative_imports_are_counted_from_the_importing_file() -> None:
    assert targets("src/app/core.py", ".sub", ["leaf"]) == ["src/app/sub/leaf.py"]
    assert targets("src/app/sub/leaf.py", "..", ["core"]) == ["src/app/core.py"]
    assert targets("src/app/sub/leaf.py", ".", ["name"]) == ["src/app/sub/__init__.py"]
    assert targets("src/app/sub/leaf.py", ".....", ["far"]) == []


def test_a_script_is_seen_by_its_bare_name_only_beside_it() -> None:
    assert targets("tests/test_core.py", "helper") == ["tests/helper.py"]
    assert targets("tests/test_core.py", "json") == ["tests/json.py"]
    assert targets("src/app/core.py", "json") == []
    assert targets("src/app/core.py", "script") == []


def test_what_is_not_in_the_tree_is_no_edge() -> None:
    assert targets("src/app/core.py", "os.path") == []
    assert targets("src/app/core.py", "app.core") == []  # itself


def test_imports_in_functions_are_kept_apart() -> None:
    assert targets("src/app/core.py", "app.sub.leaf", when="later") == ["src/app/sub/leaf.py"]


def test_a_tree_that_is_itself_a_package_knows_its_own_name() -> None:
    paths = ["__init__.py", "a.py", "b.py"]
    loaded, _ = Resolver(paths, "outer.inner").edges({"a.py": [Import("outer.inner.b", []), Import("outer.inner", [])]})

    assert loaded == [(1, 0), (1, 2)]


def test_each_group_gives_one_shortest_circle() -> None:
    edges = [(0, 1), (1, 2), (2, 0), (1, 0), (3, 4), (4, 3), (5, 0)]

    assert cycles(6, edges) == [(3, [0, 1]), (2, [3, 4])]


def test_a_chain_longer_than_the_stack_is_no_circle() -> None:
    count = 20_000
    chain = [(number, number + 1) for number in range(count - 1)]

    assert cycles(count, chain) == []
    [(size, circle)] = cycles(count, [*chain, (count - 1, 0)])
    assert (size, circle) == (count, list(range(count)))


graphs = st.integers(1, 8).flatmap(
    lambda count: st.tuples(st.just(count), st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1))))
)


@given(graphs)
def test_groups_are_exactly_those_that_reach_each_other(graph: tuple[int, set[tuple[int, int]]]) -> None:
    count, pairs = graph
    edges = sorted((source, target) for source, target in pairs if source != target)
    reached = {number: {number} for number in range(count)}
    for _ in range(count):
        for source, target in edges:
            reached[source] |= reached[target]
    groups = {frozenset(b for b in reached[a] if a in reached[b]) for a in range(count)}

    found = cycles(count, edges)

    assert sorted(size for size, _ in found) == sorted(len(group) for group in groups if len(group) > 1)
    for _, circle in found:
        steps = zip(circle, [*circle[1:], circle[0]], strict=True)
        assert all(step in edges for step in steps)
