"""Bad input: one sentence on standard error, the right exit code, and nothing half-written."""

import json
import shlex

import pytest

from tests.integration.cli.program import Program

PLANS = [
    ("", 2, "is not JSON"),
    ("{", 2, "is not JSON"),
    ("[]", 2, "plan"),
    ('{"tasks": []}', 2, "tasks is empty"),
    ('{"id": "p", "tasks": [{"id": "a"}]}', 2, "agent"),
    ('{"tasks": [{"id": "a", "agent": "double", "aftr": []}]}', 2, "aftr"),
    ('{"tasks": [{"id": "a", "agent": "double", "after": ["a"]}]}', 2, "cycle"),
    (
        '{"tasks": [{"id": "a", "agent": "double", "after": ["b"]}, {"id": "b", "agent": "double", "after": ["a"]}]}',
        2,
        "cycle",
    ),
    ('{"tasks": [{"id": "a", "agent": "double", "after": ["gone"]}]}', 2, "'gone'"),
    ('{"tasks": [{"id": "a", "agent": "double"}, {"id": "a", "agent": "double"}]}', 2, "also the id"),
    ('{"tasks": [{"id": "a\\u0000b", "agent": "double"}]}', 2, "control or unprintable"),
    ('{"tasks": [{"id": "a", "agent": "double", "timeout": -1}]}', 2, "timeout"),
    ('{"tasks": [{"id": "a", "agent": "double", "max_retries": 99999999999}]}', 2, "max_retries"),
    ('{"tasks": [{"id": "a", "agent": "nobody"}]}', 2, "'nobody', which --agents does not bring"),
]


@pytest.mark.parametrize(("text", "code", "said"), PLANS)
def test_plans_that_cannot_be_run(tenuto: Program, text: str, code: int, said: str) -> None:
    (tenuto.home / "plan.json").write_text(text)
    refused(tenuto, ["run", "--dag", "plan.json", "--agents", "my_agents"], code, said)


COMMANDS = [
    ("run --dag none.json --agents my_agents", 3, "there is no such file"),
    ("run --dag . --agents my_agents", 2, "cannot be read"),
    ("run --dag plan.json", 2, "--agents"),
    ("run --dag plan.json --agents no_such_module", 2, "there is no module 'no_such_module'"),
    ("run --dag plan.json --agents my_agents:duble", 2, "did you mean 'double'?"),
    ("run --dag plan.json --agents my_agents:not_an_agent", 2, "is an int, not an agent"),
    ("run --dag plan.json --agents my_agents.py:double", 2, "write its module name: my_agents:double"),
    ("run --dag plan.json --agents broken_module", 2, "ZeroDivisionError"),
    ("run --dag plan.json --agents my_agents --concurrency 0", 2, "--concurrency"),
    ("run --dag plan.json --agents my_agents --concurrency 99999999999999999999", 2, "--concurrency"),
    ("run --dag plan.json --agents my_agents --lease nan", 2, "lease"),
    ("worker --agents my_agents --store redis://host/name", 2, "names the database"),
    ("task list --store mysql://x", 2, "is no store URL"),
    ("task list --store sqlite://host/x.db", 2, "local file"),
    ("task list --store sqlite:///", 2, "names no file"),
    ("task list --store .", 6, "is a folder"),
    ("task list --store picture.db", 6, "not a SQLite database"),
    ("store check --store picture.db", 1, ""),
    ("task list --limit 0", 2, "--limit"),
    ("task list --limit many", 2, "--limit"),
    ("task list --format xml", 2, "--format"),
    ("task lst", 2, "Did you mean 'list'?"),
    ("task show", 2, "ID"),
    ("task submit a --payload nonsense", 2, "a text needs quotes"),
    ("task submit a --payload @none.json", 3, "there is no file 'none.json'"),
    ("task submit a --id x.y", 2, "contains a dot"),
    ("task submit a --delay soon", 2, "--delay 'soon' is no length of time"),
    ("task submit a --delay 1 --at 2030-01-01", 2, "not both"),
    ("task submit a --priority 9999999999999", 2, "priority"),
    ("task submit a --max-retries -1", 2, "max_retries"),
    ("task submit a --metadata x", 2, "key=value"),
    ("task wait x --timeout -5", 2, "--timeout"),
    ("task retry", 2, "--all-failed"),
    ("schedule put s --agent a --cron nonsense", 2, "five fields"),
    ("schedule put s --agent a", 2, "either a cron expression or an interval"),
    ("schedule put s --agent a --cron '0 3 * * *' --zone Mars/Base", 2, "no known time zone"),
    ("store purge --older-than 7x", 2, "--older-than"),
    ("store purge --older-than 7d", 2, "add --yes"),
]


@pytest.mark.parametrize(("command", "code", "said"), COMMANDS)
def test_commands_that_cannot_be_obeyed(tenuto: Program, command: str, code: int, said: str) -> None:
    tenuto.plan(id="p", tasks=[{"id": "a", "agent": "double", "payload": 1}])
    (tenuto.home / "broken_module.py").write_text("1 / 0\n")
    (tenuto.home / "picture.db").write_bytes(b"PNG" * 1000)
    refused(tenuto, shlex.split(command), code, said)
    assert (tenuto.home / "picture.db").read_bytes() == b"PNG" * 1000


def refused(tenuto: Program, arguments: list[str], code: int, said: str) -> None:
    ended = tenuto(*arguments, code=code)
    sentences = [line for line in ended.err.splitlines() if not line.startswith("Try '")]
    assert said in ended.err
    assert len(sentences) <= 1
    assert all(line.startswith("tenuto: ") for line in sentences)
    assert "Traceback" not in ended.err
    if (tenuto.home / ".tenuto").exists():
        assert tenuto("store", "info", "--format", "json").json["engine"]["tasks"] == 0
        assert tenuto("schedule", "list", "--format", "json").json["schedules"] == []


@pytest.mark.parametrize(
    "command",
    [
        "task list",
        "task show x",
        "goal graph x",
        "goal list",
        "schedule list",
        "store info",
        "store check",
        "task events",
    ],
)
def test_reading_where_there_is_no_store_makes_none(tenuto: Program, command: str) -> None:
    refused(tenuto, command.split(), 3, "there is no Tenuto store at")


def test_a_payload_of_fifty_megabytes_is_refused(tenuto: Program) -> None:
    (tenuto.home / "big.json").write_text(json.dumps("x" * 50_000_000))
    refused(tenuto, ["task", "submit", "double", "--payload", "@big.json"], 2, "more than the limit")


def test_a_traceback_is_shown_to_whom_asks_for_it(tenuto: Program) -> None:
    assert "Traceback" in tenuto("task", "list", code=3, TENUTO_DEBUG="1").err
    assert "Traceback" in tenuto("--debug", "task", "list", code=3).err


def test_a_file_that_is_no_store_is_left_alone_and_told(tenuto: Program) -> None:
    (tenuto.home / "x.db").write_bytes(b"no store at all, but long enough to be looked at" * 100)
    told = tenuto("store", "check", "--store", "x.db", "--format", "json", code=1).json
    assert told["sound"] is False
