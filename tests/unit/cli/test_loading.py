"""Agents by name: what is found, and what is said when it is not."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tenuto.cli.loading import load_agents
from tenuto.errors import InvalidInput

MODULE = """
import tenuto

@tenuto.task_agent
def reader(payload): ...

@tenuto.task_agent
def writer(payload): ...

class Box:
    inner = writer

def plain(payload): ...
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "loading_sample.py").write_text(MODULE)
    (tmp_path / "loading_twin.py").write_text(MODULE)
    (tmp_path / "loading_missing.py").write_text("import not_installed_anywhere\n")
    (tmp_path / "loading_syntax.py").write_text("def (:\n")
    (tmp_path / "loading_exit.py").write_text("raise SystemExit(1)\n")
    (tmp_path / "loading_empty.py").write_text("x = 1\n")
    yield
    for name in [name for name in sys.modules if name.startswith("loading_")]:
        del sys.modules[name]


def names(*references: str) -> list[str]:
    return [agent.name for agent in load_agents(references)]


def test_one_agent_all_of_a_module_and_one_inside_something() -> None:
    assert names("loading_sample:reader") == ["reader"]
    assert names("loading_sample") == ["reader", "writer"]
    assert names("loading_sample:Box.inner") == ["writer"]
    assert names("loading_sample", "loading_sample:writer") == ["reader", "writer"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("", "must be written module:name"),
        ("loading_sample:", "must be written module:name"),
        ("a b", "must be written module:name"),
        ("some/loading_sample.py:reader", "write its module name: some.loading_sample:reader"),
        ("no_such_module_here", "there is no module 'no_such_module_here'"),
        ("loading_missing", "imports 'not_installed_anywhere', which is not installed"),
        ("loading_syntax", "invalid syntax in"),
        ("loading_exit", "failed with SystemExit: 1"),
        ("loading_empty", "holds no agent"),
        ("loading_sample:raeder", "did you mean 'reader'"),
        ("loading_sample:xyz", "its agents are reader, writer"),
        (
            "loading_sample:reader,loading_sample:writer",
            "--agents loading_sample:reader --agents loading_sample:writer",
        ),
        ("loading_sample:plain", "put @tenuto.task_agent above it"),
        ("loading_sample:__name__", "is a str, not an agent"),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_sentence(reference: str, said: str) -> None:
    with pytest.raises(InvalidInput) as told:
        load_agents([reference])
    assert said in str(told.value)


def test_two_agents_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInput, match="both hold an agent named 'reader'"):
        load_agents(["loading_sample", "loading_twin"])


def test_no_agents_at_all() -> None:
    with pytest.raises(InvalidInput, match="--agents is missing"):
        load_agents([])
