"""The picture of a goal: states, folding, conditions, widths; and its Mermaid text."""

from tenuto.cli.graph import bundles, detail, draw_goal, mermaid
from tenuto.tasks.goal import Edge, Goal, When
from tenuto.tasks.states import State
from tenuto.tasks.task import ErrorRecord, Kind, Progress, Task
from tenuto.tasks.waits import Wait, task_topic

NOW = 20_000


def node(name: str, state: State = State.BLOCKED, **fields: object) -> Task:
    told = {"created_at": 0, "since": 10_000, "agent": "a", "root": "g"} | fields
    return Task(id=f"g.{name}", node=name, state=state, **told)  # type: ignore[arg-type]


def goal(nodes: list[Task], edges: list[Edge]) -> Goal:
    root = Task(id="g", title="Review", kind=Kind.GOAL, root="g", state=State.WAITING, created_at=0, since=0)
    return Goal(root, tuple(nodes), tuple(edges))


def picture(made: Goal, width: int = 100, **how: bool) -> list[str]:
    return [line.plain for line in draw_goal(made, NOW, width=width, **how)]


def test_each_task_shows_its_state_and_what_matters_in_it() -> None:
    made = goal(
        [
            node("scan", State.DONE, started_at=0, finished_at=1_500),
            node("read", State.RUNNING, attempt=2, progress=Progress(0.43, "a.py")),
            node("history", State.FAILED, error=ErrorRecord("OSError", "no\x1b[2J git")),
            node("report"),
        ],
        [
            Edge("scan", "read"),
            Edge("scan", "history"),
            Edge("read", "report"),
            Edge("history", "report", When.FINISHED),
        ],
    )
    assert picture(made) == [
        "Review  WAITING  1 of 4 done, 1 running, 1 failed  20 s",
        "✓    scan     done  1.5 s",
        "├─╮",
        "▶ │  read     running  ███░░░░░  43% a.py for 10 s attempt 2",
        "│ ✗  history  failed  OSError: no\\x1b[2J git",
        "├─╯",
        "·    report   blocked  [however history ends]",
    ]


def test_many_tasks_between_the_same_neighbours_are_one_line() -> None:
    many = [node(f"r{number:02}", State.DONE if number else State.RUNNING) for number in range(20)]
    edges = [Edge("scan", each.node or "") for each in many] + [Edge(each.node or "", "report") for each in many]
    made = goal([node("scan"), *many, node("report")], edges)

    folded = picture(made)
    unfolded = picture(made, every=True)

    assert "r00 … r19  20 tasks: 1 running, 19 done" in folded[2]
    assert len(folded) == 4
    assert sum("r1" in line for line in unfolded) == 10


def test_seven_alike_are_drawn_one_by_one() -> None:
    made = goal([node(f"r{number}") for number in range(7)], [])
    assert len(bundles(made, 8)[0]) == 7


def test_a_tangle_is_written_as_a_list_by_layers() -> None:
    names = [f"n{number:02}" for number in range(30)]
    edges = [Edge(low, high) for at, low in enumerate(names) for high in names[at + 1 :]]
    lines = picture(goal([node(name) for name in names], edges), every=True)
    assert lines[1:4] == ["layer 1", "  · n00  blocked", "layer 2"]
    assert lines[4] == "  · n01  blocked  after n00"
    assert lines[-1].endswith("after n00, n01, n02, n03 and 25 more")


def test_no_line_is_wider_than_the_terminal() -> None:
    made = goal([node("a" * 200, State.FAILED, error=ErrorRecord("E", "x" * 500))], [])
    assert all(len(line) <= 60 for line in picture(made, width=60))


def test_a_terminal_without_unicode_gets_ascii() -> None:
    made = goal([node("a", State.DONE), node("b"), node("c")], [Edge("a", "b"), Edge("a", "c")])
    assert all(line.isascii() for line in picture(made, ascii_only=True))


def test_a_skipped_task_says_so_and_why() -> None:
    made = goal([node("late", State.CANCELLED, reason="skipped: scan failed")], [])
    assert picture(made)[1].endswith("late  skipped  scan failed")


def test_a_scheduled_retry_says_when_and_after_what() -> None:
    task = node("a", State.SCHEDULED, run_at=NOW + 5_000, attempt=3, error=ErrorRecord("ValueError", "no"))
    assert detail(task, NOW) == "in 5 s again after ValueError: no attempt 3"


def test_a_wait_for_tasks_says_how_many_of_them_have_ended() -> None:
    wait = Wait(tuple(map(task_topic, "abcdef")), need=4)
    assert detail(node("a", State.WAITING, wait=wait, unmet=3), NOW).startswith("1 of 4 tasks")


def test_mermaid_escapes_names_and_marks_conditions() -> None:
    text = mermaid(goal([node('say "hi" <b>', State.DONE), node("b")], [Edge('say "hi" <b>', "b", When.FAILED)]))
    assert text.startswith("flowchart TD\n")
    assert 'n0["say #quot;hi#quot; #lt;b#gt;<br/>done"]:::done' in text
    assert "n0 -. failed .-> n1" in text
