"""Logs of agents: structured, each in its file, rotated."""

from __future__ import annotations

import json
import logging
import threading
from pathlib import Path

import pytest

from tenuto.errors import InvalidInput
from tenuto.observability.agent_logs import AgentLog, AgentLogConfig, agent_of, log_file


@pytest.fixture(autouse=True)
def private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENUTO_LOG_DIR", str(tmp_path / "logs"))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_each_line_is_json_with_the_agent_its_context_and_its_fields() -> None:
    with AgentLog("db", generation=2) as log:
        log.logger.info("connected to %s", "db1", seconds=0.2, peer=Path("x"))
        log.logger.debug("not grave enough")
        try:
            raise ValueError("spoilt")
        except ValueError:
            log.logger.exception("failed")
    first, second = map(json.loads, lines(log.path))
    assert first | {"timestamp": "", "peer": ""} == {
        "agent": "db",
        "generation": 2,
        "event": "connected to db1",
        "level": "info",
        "seconds": 0.2,
        "peer": "",
        "timestamp": "",
    }
    assert "ValueError: spoilt" in second["exception"]


def test_text_for_people() -> None:
    with AgentLog("db", AgentLogConfig(style="console", level="debug")) as log:
        log.logger.debug("looking", page=3)
    [line] = lines(log.path)
    assert "looking" in line
    assert "page=3" in line
    assert "\x1b" not in line


def test_two_agents_do_not_write_into_each_others_log() -> None:
    with AgentLog("a") as one, AgentLog("b") as two:
        one.logger.info("mine")
        two.logger.info("yours")
    assert [json.loads(line)["event"] for line in lines(one.path)] == ["mine"]
    assert [json.loads(line)["event"] for line in lines(two.path)] == ["yours"]


def test_a_file_that_is_too_large_is_put_aside_and_few_are_kept() -> None:
    with AgentLog("busy", AgentLogConfig(max_bytes=2_000, backups=2)) as log:
        for number in range(200):
            log.logger.info("working", number=number)
    files = sorted(log.path.parent.iterdir())
    assert [file.name for file in files] == ["busy.log", "busy.log.1", "busy.log.2"]
    assert all(file.stat().st_size <= 2_000 for file in files)
    assert json.loads(lines(log.path)[-1])["number"] == 199


def test_a_process_of_the_agents_own_logs_everything_there() -> None:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        with AgentLog("alone") as log:
            log.take_over()
            logging.getLogger("other.package").info("retrying in %d s", 3)
    finally:
        root.setLevel(level)
    [line] = map(json.loads, lines(log.path))
    assert (line["event"], line["logger"], line["level"]) == ("retrying in 3 s", "other.package", "info")
    assert root.handlers == handlers


def test_many_threads_write_whole_lines() -> None:
    with AgentLog("many") as log:
        threads = [
            threading.Thread(target=lambda: [log.logger.info("x" * 500, number=n) for n in range(100)])
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len([json.loads(line) for line in lines(log.path)]) == 800


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "köchin #1", "x" * 255, "日" * 255])
def test_any_name_has_a_file_of_its_own_in_the_folder(name: str) -> None:
    path = log_file(name)
    assert path.parent.name == "logs"
    assert ".." not in path.parts
    with AgentLog(name) as log:
        log.logger.info("here")
    assert log.path == path
    assert agent_of(path)[:10] == name[:10]
    assert path != log_file(f"{name[:-1]}y")


def test_what_makes_no_sense_is_named(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(InvalidInput, match="the log of agent 'a' cannot be written to"):
        AgentLog("a")
    for fields, said in (({"style": "xml"}, "style"), ({"level": "loud"}, "level"), ({"backups": -1}, "backups")):
        with pytest.raises(InvalidInput, match=said):
            AgentLogConfig(**fields)
