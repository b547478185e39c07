"""`tenuto goal`, `tenuto schedule` and `tenuto store`, from a shell."""

from tests.integration.cli.program import Program

PLAN = {
    "id": "g",
    "title": "Review",
    "tasks": [
        {"id": "scan", "agent": "double", "payload": 1},
        {"id": "left", "agent": "double", "payload": 2, "after": ["scan"]},
        {"id": "right", "agent": "broken", "max_retries": 0, "after": ["scan"]},
        {"id": "end", "agent": "double", "payload": 3, "after": ["left", "right"]},
        {"id": "undo", "agent": "double", "payload": 4, "after": [{"id": "right", "when": "failed"}]},
    ],
}


def test_a_goal_is_listed_shown_and_drawn(tenuto: Program) -> None:
    tenuto.plan(**PLAN)
    tenuto.run_plan("--quiet")

    assert tenuto("goal", "list").out.splitlines()[1].split()[:3] == ["g", "DONE", "Review"]
    shown = tenuto("goal", "show", "g").out
    drawn = tenuto("goal", "graph", "g").out
    mermaid = tenuto("goal", "graph", "g", "--format", "mermaid").out
    document = tenuto("goal", "graph", "g", "--format", "json").json

    assert "ValueError: this never works" in shown
    assert "[if right fails]" in drawn
    assert "skipped" in drawn
    assert mermaid.startswith("flowchart TD\n")
    assert [node["layer"] for node in document["nodes"]] == [0, 1, 1, 2, 2]
    assert {"source": "right", "target": "undo", "when": "failed"} in document["edges"]
    assert tenuto("goal", "show", "g", "--format", "json").json == document


def test_goals_are_cancelled_and_retried_and_tasks_are_no_goals(tenuto: Program) -> None:
    tenuto.plan(id="h", tasks=[{"id": "a", "agent": "broken", "max_retries": 0}])
    tenuto.run_plan("--quiet", code=1)
    assert tenuto("goal", "retry", "h").out == "retried h\n"
    assert tenuto("goal", "cancel", "h", "--reason", "enough").out == "cancelled h\n"
    assert "enough" in tenuto("goal", "graph", "h").out
    assert "there is no goal 'a'" in tenuto("goal", "cancel", "a", code=3).err
    assert "cancelled" in tenuto("goal", "cancel", "h", code=2).err
    assert tenuto("goal", "graph", "nothing", code=3).out == ""


def test_schedules_are_put_listed_and_deleted(tenuto: Program) -> None:
    put = tenuto("schedule", "put", "nightly", "--agent", "double", "--cron", "0 3 * * *", "--payload", "1")
    tenuto("schedule", "put", "pulse", "--agent", "double", "--every", "30s", "--paused")

    assert put.out.startswith("nightly fires next in ")
    listed = tenuto("schedule", "list", "--format", "json").json["schedules"]
    assert [(each["name"], each["cron"], each["every"], each["payload"]) for each in listed] == [
        ("nightly", "0 3 * * *", None, 1),
        ("pulse", None, 30.0, None),
    ]
    assert "every 30 s" in tenuto("schedule", "list").out
    tenuto("schedule", "delete", "pulse")
    assert "there is no schedule 'pulse'" in tenuto("schedule", "delete", "pulse", code=3).err


def test_a_store_is_described_checked_and_cleared(tenuto: Program) -> None:
    for number in range(3):
        tenuto.submit("double", number, "--id", f"t{number}")
    tenuto("task", "cancel", "t0", "t1")

    info = tenuto("store", "info", "--format", "json").json
    assert (info["tasks"]["ready"], info["tasks"]["cancelled"]) == (1, 2)
    assert info["agents"] == [{"agent": "double", "ready": 1, "running": 0, "other": 0, "workers": 0}]
    assert "1 ready" in tenuto("store", "info").out
    assert tenuto("store", "check").out == "Sound.\n"
    assert tenuto("store", "migrate").out.startswith("The schema is up to date")

    assert "add --yes" in tenuto("store", "purge", "--older-than", "0s", code=2).err
    assert tenuto("store", "purge", "--older-than", "0s", "--yes", "--format", "json").json["removed"] == 2
    assert [task["id"] for task in tenuto("task", "list", "--format", "json").json["tasks"]] == ["t2"]
    assert "is now" in tenuto("store", "compact").out


def test_a_damaged_store_is_told_and_left_as_it_is(tenuto: Program) -> None:
    for number in range(3):
        tenuto.submit("double", "x" * 4_000, "--id", f"t{number}")
    file = tenuto.home / ".tenuto" / "tenuto.db"
    data = bytearray(file.read_bytes())
    data[4096 * 2 :] = bytes(len(data) - 4096 * 2)
    file.write_bytes(data)

    told = tenuto("store", "check", "--format", "json", code=1).json
    assert told["sound"] is False
    assert "tenuto: " in tenuto("task", "list", code=6).err
    assert file.read_bytes() == bytes(data)


def test_the_program_names_its_version_and_its_exit_codes(tenuto: Program) -> None:
    assert tenuto("--version").out.startswith("tenuto ")
    told = tenuto("--help").out
    assert "Exit codes:" in told
    assert "tenuto task list --state failed" in told
    for group in (["task", "list"], ["goal", "graph"], ["run"], ["worker"], ["store", "purge"], ["schedule", "put"]):
        assert "Examples:" in tenuto(*group, "--help").out
