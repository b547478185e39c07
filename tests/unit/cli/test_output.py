"""Tables that fit, text that is harmless, times that people read."""

import io

import pytest
from rich.console import Console

from tenuto.cli.output import Column, fit, plain, print_table, state_text
from tenuto.cli.times import relative, span
from tenuto.tasks.states import State

COLUMNS = (Column("ID"), Column("STATE"), Column("AGENT", rank=2), Column("TITLE", rank=1, least=10))


def written(width: int, rows: list[tuple[str, ...]], colour: bool = False) -> str:
    file = io.StringIO()
    out = Console(file=file, width=width, force_terminal=True, color_system="standard" if colour else None)
    print_table(out, COLUMNS, rows, "No tasks.")
    return file.getvalue()


def test_what_fits_is_shown_whole() -> None:
    assert fit(COLUMNS, [10, 7, 5, 20], 80) == {0: 10, 1: 7, 2: 5, 3: 20}


def test_what_may_be_shortened_is_shortened_first() -> None:
    assert fit(COLUMNS, [10, 7, 5, 20], 40) == {0: 10, 1: 7, 2: 5, 3: 12}


def test_then_columns_are_left_out_by_rank_and_never_the_id() -> None:
    assert fit(COLUMNS, [10, 7, 5, 20], 34) == {0: 10, 1: 7, 3: 13}
    assert fit(COLUMNS, [41, 7, 5, 20], 20) == {0: 41, 1: 7}


def test_a_table_keeps_to_its_width() -> None:
    text = written(40, [("task-1", "READY", "reader", "A title that is much too long to fit")])
    lines = text.splitlines()
    assert lines[0].split() == ["ID", "STATE", "AGENT", "TITLE"]
    assert all(len(line) <= 40 for line in lines)
    assert lines[1].endswith("…")


def test_columns_with_nothing_in_them_are_left_out() -> None:
    assert "TITLE" not in written(80, [("task-1", "READY", "reader", "")])


def test_wide_characters_count_as_two() -> None:
    lines = written(80, [("漢字", "READY", "r", "x"), ("abcd", "DONE", "r", "y")]).splitlines()
    assert lines[1].index("READY") == lines[2].index("DONE") - 2


def test_an_empty_table_is_a_sentence() -> None:
    assert written(80, []) == "No tasks.\n"


def test_nothing_in_a_cell_can_command_the_terminal() -> None:
    assert plain("a\x1b[2Jb\nc\x00") == "a\\x1b[2Jb c\\x00"
    assert "[bold]" in written(80, [("[bold]x[/bold]", "READY", "", "")])


def test_states_are_coloured_and_upper_case() -> None:
    assert state_text(State.DONE).plain == "DONE"
    assert state_text(State.READY, paused=True).plain == "READY (paused)"


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (0, "0 ms"),
        (-5, "0 ms"),
        (850, "850 ms"),
        (4_230, "4.2 s"),
        (9_990, "9.9 s"),
        (59_700, "59 s"),
        (200_000, "3 min 20 s"),
        (3_600_000, "1 h"),
        (5_400_000, "1 h 30 min"),
        (11 * 86_400_000, "11 d"),
    ],
)
def test_spans(length: int, text: str) -> None:
    assert span(length) == text


@pytest.mark.parametrize(
    ("at", "text"),
    [(None, ""), (1_000_000, "now"), (820_000, "3 min ago"), (1_005_000, "in 5 s"), (1_000_000 - 7_300_000, "2 h ago")],
)
def test_relative_times(at: int | None, text: str) -> None:
    assert relative(at, 1_000_000) == text
