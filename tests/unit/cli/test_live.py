"""Watching a goal: what is drawn on a terminal, what is written without one, and when nothing can go on."""

import io
from itertools import pairwise

import pytest
from rich.console import Console

from tenuto.cli.live import GoalScreen, picture
from tenuto.cli.stuck import moves, paused_one
from tenuto.tasks.goal import Edge, Goal
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Kind, Task
from tenuto.tasks.waits import Wait


def node(name: str, state: State = State.BLOCKED, **fields: object) -> Task:
    told = {"created_at": 0, "since": 10_000, "agent": "a", "root": "g"} | fields
    return Task(id=f"g.{name}", node=name, state=state, **told)  # type: ignore[arg-type]


def goal(*nodes: Task, edges: tuple[Edge, ...] = ()) -> Goal:
    root = Task(id="g", title="Review", kind=Kind.GOAL, root="g", state=State.WAITING, created_at=0, since=0)
    return Goal(root, nodes, edges)


def test_the_picture_is_no_taller_than_the_terminal_and_shows_where_work_goes_on() -> None:
    names = [f"n{number:02}" for number in range(60)]
    nodes = [
        node(name, State.DONE if name < "n40" else State.RUNNING if name == "n40" else State.BLOCKED) for name in names
    ]
    made = goal(*nodes, edges=tuple(Edge(low, high) for low, high in pairwise(names)))
    out = Console(file=io.StringIO(), width=80, height=20, force_terminal=True, color_system=None)

    out.print(picture(made, 20_000, out))

    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 20
    assert "40/60" in lines[1]
    assert any("n40" in line for line in lines)
    assert lines[2] == "… 38 lines above"
    assert lines[-1].endswith("lines below")


def test_of_a_very_large_goal_only_what_runs_is_drawn() -> None:
    nodes = [node(f"n{number}", State.RUNNING if number < 3 else State.READY) for number in range(5_000)]
    out = Console(file=io.StringIO(), width=80, height=20, force_terminal=True, color_system=None)
    out.print(picture(goal(*nodes), 20_000, out))
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.strip() for line in lines[2:]] == ["▶ n0  for 10 s", "▶ n1  for 10 s", "▶ n2  for 10 s"]


def test_without_a_terminal_each_end_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with GoalScreen() as screen:
        screen.show(goal(node("old", State.DONE), node("a", State.RUNNING), node("b")))
        screen.show(goal(node("old", State.DONE), node("a", State.DONE, started_at=0, finished_at=1_500), node("b")))
        screen.show(goal(node("a", State.DONE), node("b", State.FAILED, error=ErrorRecord("OSError", "no\nroom"))))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["done      a  1.5 s", "failed    b  OSError: no room"]


def test_of_a_large_goal_only_the_counts_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    with GoalScreen() as screen:
        for done in (0, 150, 150):
            screen.show(
                goal(*(node(f"n{number}", State.DONE if number < done else State.READY) for number in range(300)))
            )
    err = capsys.readouterr().err.splitlines()
    assert [line.partition("WAITING  ")[2] for line in err] == ["0 of 300 done", "150 of 300 done"]


def test_quiet_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    with GoalScreen(quiet=True) as screen:
        screen.show(goal(node("a", State.RUNNING)))
        screen.show(goal(node("a", State.DONE)))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("task", "does"),
    [
        (node("a", State.RUNNING, paused=True), True),
        (node("a", State.READY), True),
        (node("a", State.READY, paused=True), False),
        (node("a", State.SCHEDULED), True),
        (node("a", State.BLOCKED), False),
        (node("a", State.WAITING, wait=Wait(("task:x",))), False),
        (node("a", State.WAITING, wait=Wait(("task:x",), until=5)), True),
        (node("a", State.WAITING, wait=Wait(("event:go",))), True),
        (node("a", State.DONE), False),
    ],
)
def test_what_goes_on_by_itself(task: Task, does: bool) -> None:
    assert moves(task) is does


def test_a_paused_task_holds_a_goal_only_where_nothing_else_moves() -> None:
    held = node("a", State.READY, paused=True)
    waiting = node("b", State.WAITING, wait=Wait(("task:g.a",)))
    assert paused_one([waiting, held]) is held
    assert paused_one([waiting, held, node("c", State.READY)]) is None
    assert paused_one([waiting, node("c")]) is None
