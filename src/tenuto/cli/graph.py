"""A goal as a picture in the terminal, and as Mermaid text for documents.

The picture has one line per task, from the first layer to the last, with rails for the edges (see `rails`). Many
tasks between the same neighbours are drawn as one line that counts them. A graph whose rails do not fit is written
as a list by layers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from tenuto.cli.output import GLYPHS, STYLES, plain, state_text
from tenuto.cli.rails import Row, draw, layers_of
from tenuto.cli.times import relative, span
from tenuto.tasks.clock import Millis
from tenuto.tasks.goal import SKIPPED, Edge, Goal, When
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.tasks.waits import Wait, task_topic

__all__ = ["Bundle", "bundles", "detail", "draw_goal", "headline", "layer_numbers", "mermaid"]

FOLD = 8
"""From this many on, tasks with the same neighbours are drawn as one line."""

_ASCII = str.maketrans("│─├┤╯╰╮╭┴┬┼●✓✗▶○◔◌⊘·…█░", "|-++''..+++*+x>o~~-..#.")


@dataclass(frozen=True)
class Bundle:
    """Tasks that are drawn as one line: alike in what they need and what needs them."""

    name: str
    tasks: tuple[Task, ...]


def bundles(goal: Goal, fold: int) -> tuple[dict[str, Bundle], list[tuple[str, str]]]:
    """The lines of a drawing by name, and the edges between them."""
    incoming: dict[str, list[tuple[str, str]]] = defaultdict(list)
    outgoing: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for edge in goal.edges:
        incoming[edge.target].append((edge.source, edge.when))
        outgoing[edge.source].append((edge.target, edge.when))
    alike: dict[object, list[Task]] = defaultdict(list)
    for task in goal.nodes:
        alike[frozenset(incoming[_name(task)]), frozenset(outgoing[_name(task)])].append(task)
    line_of: dict[str, str] = {}
    for tasks in alike.values():
        for task in tasks:
            line_of[_name(task)] = _name(tasks[0] if len(tasks) >= fold else task)
    members: dict[str, list[Task]] = defaultdict(list)
    for task in goal.nodes:
        members[line_of[_name(task)]].append(task)
    lines = {name: Bundle(name, tuple(tasks)) for name, tasks in members.items()}
    return lines, list(dict.fromkeys((line_of[edge.source], line_of[edge.target]) for edge in goal.edges))


def layer_numbers(goal: Goal) -> dict[str, int]:
    """The layer of every node, from 0."""
    layers = layers_of([_name(task) for task in goal.nodes], [(edge.source, edge.target) for edge in goal.edges])
    return {name: number for number, layer in enumerate(layers) for name in layer}


def draw_goal(goal: Goal, now: Millis, *, width: int, every: bool = False, ascii_only: bool = False) -> list[Text]:
    """The lines of the picture: `headline`, then the tasks. `every` folds nothing."""
    lines, edges = bundles(goal, len(goal.nodes) + 1 if every else FOLD)
    layers = layers_of(list(lines), edges)
    needs = _conditions(goal.edges)
    rows = draw(layers, edges, widest=max(4, min(40, (width - 40) // 2)))
    if rows is None:
        picture = _list(layers, lines, edges, needs, now, width)
    else:
        picture = _picture(rows, lines, needs, now, width)
    whole = [headline(goal, now), *picture]
    for line in whole:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
        if ascii_only:
            line.plain = line.plain.translate(_ASCII)
    return whole


def headline(goal: Goal, now: Millis) -> Text:
    """The goal in one line: its name, its state, how far it is."""
    task = goal.task
    line = (
        Text()
        .append(plain(task.title or task.id), "bold")
        .append("  ")
        .append_text(state_text(task.state, paused=task.paused))
    )
    done = sum(node.state is State.DONE for node in goal.nodes)
    line.append(f"  {done} of {len(goal.nodes)} done")
    for state in (State.RUNNING, State.FAILED, State.CANCELLED):
        count = sum(node.state is state for node in goal.nodes)
        if count:
            line.append(f", {count} {state.value}", STYLES[state])
    line.append(f"  {span((task.finished_at or now) - task.created_at)}")
    if task.run > 1:
        line.append(f"  run {task.run}")
    if task.reason:
        line.append(f"  ({plain(task.reason)})", STYLES[task.state])
    return line


def _picture(
    rows: Sequence[Row], lines: Mapping[str, Bundle], needs: Mapping[str, str], now: Millis, width: int
) -> list[Text]:
    rails = max((len(row.rails) for row in rows), default=0) + 2
    names = min(max((cell_len(_label(lines[row.node])) for row in rows if row.node is not None), default=0), width // 2)
    picture = []
    for row in rows:
        line = Text().append(row.rails.ljust(rails), "bright_black")
        if row.node is not None:
            bundle = lines[row.node]
            state = _leading(bundle)
            line = Text().append(row.rails[: row.column], "bright_black")
            line.append(GLYPHS[state], STYLES[state])
            line.append(row.rails[row.column + 1 :].ljust(rails - row.column - 1), "bright_black")
            line.append_text(_described(bundle, names, needs, now))
        picture.append(line)
    return picture


def _list(
    layers: Sequence[Sequence[str]],
    lines: Mapping[str, Bundle],
    edges: Sequence[tuple[str, str]],
    needs: Mapping[str, str],
    now: Millis,
    width: int,
) -> list[Text]:
    """The same without rails: layer by layer, each task with what it comes after."""
    sources: dict[str, list[str]] = defaultdict(list)
    for source, target in edges:
        sources[target].append(source)
    names = min(max(cell_len(_label(bundle)) for bundle in lines.values()), width // 2)
    listed = []
    for number, layer in enumerate(layers, start=1):
        listed.append(Text(f"layer {number}", "bold"))
        for name in layer:
            state = _leading(lines[name])
            line = Text("  ").append(f"{GLYPHS[state]} ", STYLES[state])
            line.append_text(_described(lines[name], names, needs, now))
            after = sources[name]
            if after:
                more = f" and {len(after) - 4} more" if len(after) > 4 else ""
                line.append(f"  after {', '.join(map(plain, after[:4]))}{more}", "bright_black")
            listed.append(line)
    return listed


def _described(bundle: Bundle, names: int, needs: Mapping[str, str], now: Millis) -> Text:
    label = Text(_label(bundle))
    label.truncate(names, overflow="ellipsis", pad=True)
    label.append("  ")
    if len(bundle.tasks) > 1:
        counts = Counter(task.state for task in bundle.tasks)
        label.append(f"{len(bundle.tasks)} tasks: ")
        for at, state in enumerate(state for state in STYLES if counts[state]):
            label.append(", " if at else "").append(f"{counts[state]} {state.value}", STYLES[state])
    else:
        task = bundle.tasks[0]
        skipped = task.state is State.CANCELLED and task.reason.startswith(SKIPPED)
        label.append("skipped" if skipped else task.state.value, STYLES[task.state])
        label.append(" (paused)" if task.paused else "", "yellow")
        bar = _bar(task)
        label.append(f"  {bar}" if bar else "", "cyan")
        said = detail(task, now)
        label.append(f"  {said}" if said else "", "red" if task.state is State.FAILED else "bright_black")
    if bundle.name in needs:
        label.append(f"  [{needs[bundle.name]}]", "bright_black")
    return label


def _bar(task: Task) -> str:
    """How far a running task is, in eight cells; empty where it does not say."""
    fraction = task.progress.fraction if task.progress is not None and task.state is State.RUNNING else None
    if fraction is None:
        return ""
    full = round(min(max(fraction, 0.0), 1.0) * 8)
    return "█" * full + "░" * (8 - full)


def detail(task: Task, now: Millis) -> str:
    """What is worth knowing about a task in its state, in a few words."""
    said: list[str] = []
    match task.state:
        case State.RUNNING:
            if task.progress is not None:
                fraction = task.progress.fraction
                said.append(f"{fraction:.0%}" if fraction is not None else "")
                said.append(task.progress.message)
            said.append(f"for {span(now - task.since)}")
        case State.DONE if task.finished_at is not None and task.started_at is not None:
            said.append(span(task.finished_at - task.started_at))
        case State.FAILED if task.error is not None:
            said.append(f"{task.error.type}: {task.error.message}")
        case State.SCHEDULED:
            said.append(relative(task.run_at, now))
            if task.error is not None:
                said.append(f"again after {task.error.type}: {task.error.message}")
        case State.WAITING if task.wait is not None:
            said.append(_awaited(task, task.wait, now))
        case State.READY if task.gate:
            said.append(f"behind the limit {task.gate}")
        case State.CANCELLED | State.FAILED:
            said.append(task.reason.removeprefix(SKIPPED))
        case _:
            pass
    if task.attempt > 1 and not task.is_final:
        said.append(f"attempt {task.attempt}")
    return plain(" ".join(word for word in said if word))


def _awaited(task: Task, wait: Wait, now: Millis) -> str:
    if not wait.on:
        return relative(wait.until, now)
    batch = awaited_tasks(task)
    if batch is not None:
        return f"{batch[0]} of {batch[1]} tasks"
    return f"for {', '.join(wait.on[:3])}{' …' if len(wait.on) > 3 else ''}"


def awaited_tasks(task: Task) -> tuple[int, int] | None:
    """Of a task that waits for nothing but tasks: how many of them have ended, and how many have to."""
    wait = task.wait
    if wait is None or not wait.on or not all(topic.startswith(task_topic("")) for topic in wait.on):
        return None
    needed = min(wait.need, len(wait.on))
    return needed - task.unmet, needed


def mermaid(goal: Goal) -> str:
    """The goal as a Mermaid flow chart, its tasks coloured by state."""
    number = {_name(task): f"n{at}" for at, task in enumerate(goal.nodes)}
    text = ["flowchart TD"]
    text += [
        f'    {number[_name(task)]}["{_escaped(_name(task))}<br/>{task.state.value}"]:::{task.state.value}'
        for task in goal.nodes
    ]
    for edge in goal.edges:
        arrow = "-->" if edge.when is When.DONE else f"-. {edge.when.value} .->"
        text.append(f"    {number[edge.source]} {arrow} {number[edge.target]}")
    for state, colour in _FILL.items():
        text.append(f"    classDef {state.value} {colour}")
    return "\n".join(text) + "\n"


_FILL = {
    State.BLOCKED: "fill:#eeeeee,stroke:#999999,color:#555555",
    State.READY: "fill:#fff4cc,stroke:#c99700,color:#000000",
    State.SCHEDULED: "fill:#f0e0ff,stroke:#8844cc,color:#000000",
    State.RUNNING: "fill:#cceeff,stroke:#0077aa,color:#000000,stroke-width:3px",
    State.WAITING: "fill:#dde6ff,stroke:#3355cc,color:#000000",
    State.DONE: "fill:#d6f5d6,stroke:#2e8b57,color:#000000",
    State.FAILED: "fill:#ffd6d6,stroke:#cc0000,color:#000000",
    State.CANCELLED: "fill:#dddddd,stroke:#777777,color:#555555,stroke-dasharray: 4 3",
}


def _escaped(text: str) -> str:
    special = {'"': "#quot;", "#": "#35;", "<": "#lt;", ">": "#gt;", "`": "#96;", "&": "#amp;"}
    return "".join(special.get(char, char) for char in plain(text))


def _name(task: Task) -> str:
    return task.node or task.id


def _label(bundle: Bundle) -> str:
    first, last = bundle.tasks[0], bundle.tasks[-1]
    return plain(_name(first) if first is last else f"{_name(first)} … {_name(last)}")


def _leading(bundle: Bundle) -> State:
    """The state that a reader should see first."""
    states = {task.state for task in bundle.tasks}
    order = (State.FAILED, State.RUNNING, State.READY, State.SCHEDULED, State.WAITING, State.BLOCKED, State.CANCELLED)
    return next((state for state in order if state in states), State.DONE)


def _conditions(edges: Sequence[Edge]) -> dict[str, str]:
    """By node: which of its edges are not the ordinary kind."""
    said: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        if edge.when is When.FAILED:
            said[edge.target].append(f"if {plain(edge.source)} fails")
        elif edge.when is When.FINISHED:
            said[edge.target].append(f"however {plain(edge.source)} ends")
    return {
        target: ", ".join(words[:3]) + (f" and {len(words) - 3} more" if len(words) > 3 else "")
        for target, words in said.items()
    }
