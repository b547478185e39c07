"""`tenuto run` and `tenuto worker`: work done by the program, interrupted, killed, and gone on with."""

import signal

import pytest

from tests.integration.cli.program import Program


def test_a_plan_is_run_to_its_end(tenuto: Program) -> None:
    tenuto.plan(
        id="p",
        title="Two and two",
        tasks=[
            {"id": "a", "agent": "double", "payload": 1},
            {"id": "b", "agent": "double", "payload": 2},
            {"id": "c", "agent": "double", "payload": 3, "after": ["a", "b"]},
        ],
    )

    ran = tenuto.run_plan()

    assert ran.out.splitlines()[0].startswith("Two and two  DONE  3 of 3 done")
    assert "doubling" not in ran.out  # what agents print is no output of this command
    assert "doubling 3" in ran.err
    assert "done      c" in ran.err
    drawn = tenuto("goal", "graph", "p").out
    assert "✓    c" in drawn
    again = tenuto.run_plan("--format", "json")
    assert again.json["results"] == {"a": 2, "b": 4, "c": 6}
    assert "was done already" in again.err


def test_a_plan_without_an_id_gets_one_from_its_content(tenuto: Program) -> None:
    plan = tenuto.plan(tasks=[{"id": "a", "agent": "double", "payload": 1}])
    first = tenuto.run_plan("--format", "json").json["id"]
    second = tenuto(
        "run", "--dag", "-", "-a", "my_agents:double", "--format", "json", stdin=(tenuto.home / plan).read_text()
    )
    assert second.json["id"] == first
    assert tenuto.run_plan("--id", "another", "--format", "json").json["id"] == "another"


def test_a_failed_plan_says_so_and_goes_on_with_retry(tenuto: Program) -> None:
    tenuto.plan(
        id="p",
        tasks=[
            {"id": "a", "agent": "lines", "payload": "once"},
            {"id": "b", "agent": "broken", "max_retries": 0, "after": ["a"]},
            {"id": "c", "agent": "double", "payload": 1, "after": ["b"]},
        ],
    )
    failed = tenuto.run_plan(code=1)
    assert "ValueError: this never works" in failed.out
    assert "skipped" in failed.out
    assert "add --retry" in tenuto.run_plan(code=1).err
    assert "ValueError" in tenuto("task", "wait", "p", code=1).err

    (tenuto.home / "repaired").touch()
    tenuto.run_plan("--retry")

    assert tenuto("task", "wait", "c").out == "2\n"
    assert (tenuto.home / "lines.txt").read_text() == "once\n"


def test_killed_and_started_again_it_goes_on_where_it_was(tenuto: Program) -> None:
    # Given a run that is killed while its second task runs
    tenuto.plan(
        id="p",
        tasks=[
            {"id": "first", "agent": "lines", "payload": "first"},
            {"id": "second", "agent": "gate", "payload": "open", "after": ["first"]},
            {"id": "third", "agent": "lines", "payload": "third", "after": ["second"]},
        ],
    )
    command = ["run", "--dag", "plan.json", "--agents", "my_agents"]
    killed = tenuto.start(*command, "--lease", "3")
    tenuto.wait_for((tenuto.home / "open.started").exists, "the second task to start")
    killed.kill()
    killed.wait()

    # When it is started again
    (tenuto.home / "open").touch()
    ended = tenuto(*command)

    # Then it says so, and what was done is not done again
    assert "Going on with goal p: 1 of 3 tasks are done already." in ended.err
    assert (tenuto.home / "lines.txt").read_text() == "first\nthird\n"
    second = tenuto("task", "show", "second", "--format", "json").json
    assert (second["state"], second["attempt"], second["losses"]) == ("done", 2, 1)


def test_a_step_whose_outcome_is_unknown_is_resolved_by_a_person(tenuto: Program) -> None:
    # Given a run that is killed in the middle of a step that may run only once
    tenuto.plan(id="p", tasks=[{"id": "a", "agent": "pay"}])
    killed = tenuto.start("run", "--dag", "plan.json", "--agents", "my_agents", "--lease", "1")
    tenuto.wait_for((tenuto.home / "charging").exists, "the step to start")
    killed.kill()
    killed.wait()

    # When it is started again, it does not charge again, but asks
    stopped = tenuto.run_plan(code=1)
    assert "tenuto task resolve a 'charge#0' done|retry|fail" in stopped.err
    step = tenuto("task", "show", "a", "--format", "json").json["journal"][0]
    assert step["state"] == "started"

    # Then it goes on with what a person found out
    tenuto("task", "resolve", "a", step["key"], "done", "--value", '{"receipt": 7}')
    assert tenuto.run_plan("--format", "json").json["results"] == {"a": {"receipt": 7}}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_hands_back_what_runs(tenuto: Program, number: signal.Signals) -> None:
    tenuto.plan(id="p", tasks=[{"id": "a", "agent": "gate", "payload": "open"}])
    running = tenuto.start("run", "--dag", "plan.json", "--agents", "my_agents", "--grace", "0.5")
    tenuto.wait_for((tenuto.home / "open.started").exists, "the task to start")

    running.send_signal(number)
    _, err = running.communicate(timeout=60)

    assert running.returncode == 130
    assert "The same command goes on from here." in err
    assert "Traceback" not in err
    task = tenuto("task", "show", "a", "--format", "json").json
    assert (task["state"], task["losses"]) == ("ready", 0)


def test_a_task_that_is_paused_ends_the_run_with_advice(tenuto: Program) -> None:
    tenuto.plan(id="p", tasks=[{"id": "a", "agent": "double", "payload": 1, "delay": 3600}])
    running = tenuto.start("run", "--dag", "plan.json", "--agents", "my_agents")
    tenuto.wait_for(lambda: "a " in tenuto.run("task", "list").out, "the submission")
    tenuto("task", "pause", "a", "--reason", "lunch")
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "task a is paused (lunch)" in err


def test_a_paused_child_is_found_as_what_holds_a_goal(tenuto: Program) -> None:
    tenuto.plan(id="p", tasks=[{"id": "a", "agent": "parent"}, {"id": "b", "agent": "double", "after": ["a"]}])
    running = tenuto.start("run", "--dag", "plan.json", "--agents", "my_agents")
    children: list[str] = []

    def found() -> list[str]:
        listed = tenuto.run("task", "list", "--state", "scheduled", "--format", "json")
        children[:] = [] if listed.code else [task["id"] for task in listed.json["tasks"]]
        return children

    tenuto.wait_for(found, "the child")
    tenuto("task", "pause", children[0])
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert f"tenuto task resume {children[0]}" in err


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_takes_what_comes_and_drains_when_told_to_end(tenuto: Program, processes: str) -> None:
    worker = tenuto.start(
        "worker", "--agents", "my_agents:double", "--agents", "my_agents:gate", "--processes", processes
    )
    task_id = tenuto.submit("double", 4)
    assert tenuto("task", "wait", task_id, "--timeout", "60s").out == "8\n"
    slow = tenuto.submit("gate", "open")
    tenuto.wait_for((tenuto.home / "open.started").exists, "the task to start")

    worker.send_signal(signal.SIGTERM)
    (tenuto.home / "open").touch()
    _, err = worker.communicate(timeout=60)

    assert worker.returncode == 0
    assert "Draining: running tasks" in err
    assert tenuto("task", "wait", slow).out == '"open"\n'
