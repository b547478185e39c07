"""Drawing DAGs as rails: what small graphs look like, and that every graph's drawing tells the truth."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tenuto.cli.rails import NODE, Row, draw, layers_of


def edges_of(text: str) -> list[tuple[str, str]]:
    return [(source, target) for source, target in (edge.split(">") for edge in text.split())]


def drawn(names: str, edges: str, widest: int = 40) -> list[str] | None:
    pairs = edges_of(edges)
    rows = draw(layers_of(names.split(), pairs), pairs, widest)
    if rows is None:
        return None
    width = max(len(row.rails) for row in rows) + 2
    return [f"{row.rails.ljust(width)}{row.node or ''}".rstrip() for row in rows]


def test_a_fan_out_and_in() -> None:
    assert drawn("scan a b c report", "scan>a scan>b scan>c a>report b>report c>report") == [
        "●      scan",
        "├─┬─╮",
        "● │ │  a",
        "│ ● │  b",
        "│ │ ●  c",
        "├─┴─╯",
        "●      report",
    ]


def test_a_chain_is_one_column() -> None:
    assert drawn("a b c", "a>b b>c") == ["●  a", "●  b", "●  c"]


def test_tasks_without_edges_do_not_look_like_a_chain() -> None:
    assert drawn("a b", "") == ["●  a", "", "●  b"]


def test_a_line_passes_over_rails_it_does_not_belong_to() -> None:
    assert drawn("a b c d", "a>c b>d a>d b>c") == [
        "●        a",
        "├─╮",
        "│ │ ●    b",
        "│ │ ├─╮",
        "├─│─╯ │",
        "● │   │  c",
        "  ├───╯",
        "  ●      d",
    ]


def test_a_graph_that_is_too_wide_has_no_drawing() -> None:
    assert drawn("a b c d e f", "a>b a>c a>d a>e a>f", widest=3) is None


def test_layers_are_as_deep_as_the_longest_way_and_keep_the_order() -> None:
    assert layers_of(["d", "a", "b", "c"], edges_of("a>b b>c a>c")) == [["d", "a"], ["b"], ["c"]]


def test_ten_thousand_tasks_in_a_chain_are_drawn() -> None:
    names = [f"n{number}" for number in range(10_000)]
    edges = list(pairwise(names))
    rows = draw(layers_of(names, edges), edges, 10)
    assert rows is not None
    assert [row.node for row in rows] == names


@st.composite
def dags(draw_from: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    count = draw_from(st.integers(1, 9))
    names = [f"n{number}" for number in range(count)]
    pairs = [(names[low], names[high]) for low in range(count) for high in range(low + 1, count)]
    return names, draw_from(st.lists(st.sampled_from(pairs), unique=True)) if pairs else []


UP, DOWN, LEFT, RIGHT = "│├┤╯╰┴┼", "│├┤╮╭┬┼", "─┤╯╮┴┬┼", "─├╰╭┴┬┼"


def reached(rows: list[Row], row: int, column: int) -> set[str]:
    """Follows the lines down from below a node's mark, to every node that they lead to."""
    found: set[str] = set()
    seen: set[tuple[int, int, str]] = set()
    ways = [(row + 1, column, "down")]
    while ways:
        way = ways.pop()
        if way in seen:
            continue
        seen.add(way)
        at, cell, going = way
        text = rows[at].rails if at < len(rows) else ""
        char = text[cell] if 0 <= cell < len(text) else " "
        over = cell > 0 and char == "│" and text[cell - 1 : cell + 2] == "─│─"
        if going == "down":
            if char == NODE:
                found.add(rows[at].node or "")
            elif char in UP:
                if char in DOWN:
                    ways.append((at + 1, cell, "down"))
                if char in LEFT:
                    ways.append((at, cell - 1, "left"))
                if char in RIGHT:
                    ways.append((at, cell + 1, "right"))
        else:
            step = -1 if going == "left" else 1
            if char == "─" or over:
                ways.append((at, cell + step, going))
            elif char in (RIGHT if going == "left" else LEFT):
                if char in DOWN:
                    ways.append((at + 1, cell, "down"))
                if char in (LEFT if going == "left" else RIGHT):
                    ways.append((at, cell + step, going))
    return found


@given(dags())
def test_the_lines_lead_exactly_where_the_edges_do(dag: tuple[list[str], list[tuple[str, str]]]) -> None:
    names, edges = dag
    rows = draw(layers_of(names, edges), edges, 100)
    assert rows is not None
    assert sorted(row.node for row in rows if row.node is not None) == sorted(names)
    for at, row in enumerate(rows):
        if row.node is not None:
            assert reached(rows, at, row.column) == {target for source, target in edges if source == row.node}
