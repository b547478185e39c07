"""`tenuto task`: looking at tasks and directing them, from a shell."""

import json

import pytest

from tests.integration.cli.program import Program
from tests.integration.supervisor.stage import until


def test_a_submitted_task_is_listed_shown_and_explained(tenuto: Program) -> None:
    task_id = tenuto.submit("double", 21, "--title", "Twice", "--owner", "ann", "--tag", "t", "--metadata", "n=1")

    listed = tenuto("task", "list").out.splitlines()
    shown = tenuto("task", "show", task_id).out
    why = tenuto("task", "why", task_id).out

    assert listed[0].split() == ["ID", "STATE", "AGENT", "SINCE", "TITLE", "OWNER"]
    assert listed[1].split()[:3] == [task_id, "READY", "double"]
    assert "payload\n  21\n" in shown
    assert "owner     ann" in shown
    assert "No live worker serves the agent 'double'" in why


def test_json_is_one_document_with_the_same_fields_always(tenuto: Program) -> None:
    task_id = tenuto("task", "submit", "double", "--payload", "21", "--format", "json").json["id"]

    listed = tenuto("task", "list", "--format", "json").json
    shown = tenuto("task", "show", task_id, "--format", "json").json

    assert listed["cursor"] is None
    assert listed["tasks"][0]["id"] == task_id
    assert shown["payload"] == 21
    assert shown["state"] == "ready"
    assert shown["created_at"].endswith("Z")
    assert shown["journal"] == shown["inbox"] == []
    assert set(listed["tasks"][0]) | {"payload", "result", "journal", "inbox"} == set(shown)


def test_submitting_twice_under_one_id_is_one_task_and_other_content_a_conflict(tenuto: Program) -> None:
    assert tenuto.submit("double", 1, "--id", "one") == "one"
    assert tenuto.submit("double", 1, "--id", "one") == "one"
    refused = tenuto("task", "submit", "double", "--payload", "2", "--id", "one", code=2)
    assert "one" in refused.err
    assert len(tenuto("task", "list", "--format", "json").json["tasks"]) == 1


def test_lists_are_filtered_and_read_on(tenuto: Program) -> None:
    for number in range(5):
        tenuto.submit("double", number, "--id", f"t{number}", "--owner", "ann" if number % 2 else "bob")

    first = tenuto("task", "list", "--owner", "bob", "--limit", "2", "--format", "json").json
    second = tenuto("task", "list", "--owner", "bob", "--cursor", first["cursor"], "--format", "json").json

    assert [task["id"] for task in first["tasks"] + second["tasks"]] == ["t4", "t2", "t0"]
    assert tenuto("task", "list", "--state", "failed").out == "No tasks like that.\n"
    assert "is no state" in tenuto("task", "list", "--state", "lost", code=2).err


def test_reading_takes_a_part_of_an_id_and_writing_does_not(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "alpha-one")
    tenuto.submit("double", 1, "--id", "alpha-two")

    assert tenuto("task", "show", "alpha-o", "--format", "json").json["id"] == "alpha-one"
    assert tenuto("task", "show", "-two", "--format", "json", code=2).out == ""
    assert tenuto("task", "why", "a-two", "--format", "json").json["task_id"] == "alpha-two"
    assert "fits several tasks" in tenuto("task", "show", "alpha", code=2).err
    assert "there is no task" in tenuto("task", "show", "beta", code=3).err
    assert "there is no task" in tenuto("task", "cancel", "alpha-o", code=3).err


def test_waiting_ends_with_what_became_of_the_task(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "late")
    assert "within 0.2 s" in tenuto("task", "wait", "late", "--timeout", "200ms", code=5).err

    tenuto("task", "cancel", "late", "--reason", "not needed")

    assert "not needed" in tenuto("task", "wait", "late", code=4).err
    assert tenuto("task", "wait", "late", "--format", "json", code=4).json["state"] == "cancelled"
    assert tenuto("task", "wait", "nobody", code=3).out == ""


def test_each_id_is_answered_for(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "one")
    ended = tenuto("task", "cancel", "one", "two", code=3)
    assert ended.out == "cancelled one\n"
    assert "'two'" in ended.err
    again = tenuto("task", "cancel", "one", "--format", "json", code=2)
    assert again.json["cancelled"] == []
    assert "is cancelled" in again.json["refused"]["one"]


def test_pause_resume_and_retry(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "one")
    tenuto("task", "pause", "one", "--reason", "lunch")
    assert "READY (paused)" in tenuto("task", "list").out
    assert "lunch" in tenuto("task", "why", "one").out
    tenuto("task", "resume", "one")
    assert not tenuto("task", "show", "one", "--format", "json").json["paused"]
    tenuto("task", "cancel", "one")
    tenuto("task", "retry", "one")
    assert tenuto("task", "show", "one", "--format", "json").json["run"] == 2


def test_why_says_when_something_was_due_and_nobody_has_looked(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "late", "--delay", "1s")
    tenuto.submit("double", 1, "--id", "later", "--delay", "1h")
    assert "That can change by itself in 59 min" in tenuto("task", "why", "later").out
    until(lambda: "That was due " in tenuto("task", "why", "late").out)


def test_events_are_shown_and_followed_to_the_end(tenuto: Program) -> None:
    tenuto.submit("double", 1, "--id", "one")
    follower = tenuto.start("task", "events", "one", "--follow", "--format", "json")
    tenuto.submit("double", 1, "--id", "two")
    tenuto("task", "cancel", "one")

    followed = [json.loads(line) for line in follower.communicate(timeout=60)[0].splitlines()]
    page = tenuto("task", "events", "--format", "json").json
    later = tenuto("task", "events", "--after", page["cursor"], "--format", "json").json

    assert [event["kind"] for event in followed] == ["created", "cancelled"]
    assert [event["seq"] for event in followed] == [1, 2]
    assert len(page["events"]) == 3
    assert later["events"] == []
    assert "cancelled" in tenuto("task", "events", "one").out
    assert "use some of" in tenuto("task", "events", "--kind", "vanished", code=2).err


def test_dead_letters_are_listed_and_replayed(tenuto: Program) -> None:
    for goal, agent in (("p", "broken"), ("q", "broken")):
        tenuto.plan(id=goal, tasks=[{"id": f"{goal}{number}", "agent": agent, "max_retries": 0} for number in (1, 2)])
        tenuto.run_plan(code=1)
    assert len(tenuto("task", "list", "--state", "failed", "--format", "json").json["tasks"]) == 4

    asked = tenuto("task", "retry", "--all-failed", code=2)
    assert "Retry 4 failed tasks? Nobody is here to confirm: add --yes" in asked.err
    assert tenuto("task", "retry", "--all-failed", "--agent", "double", "--yes").out == "No failed tasks.\n"

    replayed = tenuto("task", "retry", "--all-failed", "--agent", "broken", "--yes", "--format", "json").json
    assert replayed == {"failed": 4, "retried": 2}  # their goals, which go on from where they failed
    assert tenuto("task", "list", "--state", "failed").out == "No tasks like that.\n"


@pytest.mark.parametrize("format", ["table", "json"])
def test_a_reader_that_goes_away_ends_the_program_quietly(tenuto: Program, format: str) -> None:
    tenuto.submit("double", 1)
    process = tenuto.start("task", "list", "--format", format)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr is not None
    assert process.stderr.read() == ""


@pytest.mark.parametrize("columns", ["60", "100", "200"])
def test_tables_fit_and_ids_are_whole(tenuto: Program, columns: str) -> None:
    task_id = tenuto.submit("double", 1, "--title", "A long title " * 10, "--owner", "somebody")
    lines = tenuto("task", "list", COLUMNS=columns).out.splitlines()
    assert all(len(line) <= int(columns) for line in lines)
    assert task_id in lines[1]


def test_colours_are_for_terminals(tenuto: Program) -> None:
    tenuto.submit("double", 1)
    assert "\x1b[" not in tenuto("task", "list").out
    assert "\x1b[" in tenuto("task", "list", FORCE_COLOR="1").out
    assert "\x1b[3" not in tenuto("task", "list", FORCE_COLOR="1", NO_COLOR="1").out
