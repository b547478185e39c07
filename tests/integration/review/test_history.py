"""What git's history says about a tree: renames, merges, parts of a repository, shallow clones, and none at all."""

from pathlib import Path

import pytest

from tenuto.review.history import Author, Month, read_history
from tests.integration.review.trees import Repository, churn, write

TEN_LINES = "".join(f"line {number}\n" for number in range(10))


def test_changes_are_counted_by_file_person_and_month(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"a.py": TEN_LINES, "b.py": "x\n"})
    repository.commit({"a.py": TEN_LINES + "more\n"}, author="Grace")
    repository.commit({"a.py": TEN_LINES, "image.png": b"\0\1\2"})

    history = read_history(tmp_path)

    assert churn(history) == {"a.py": 3, "b.py": 1, "image.png": 1}
    assert history.authors == [Author("Ada", 2), Author("Grace", 1)]
    assert history.months == [Month("2026-03", 3, 12, 1)]
    assert (history.commits, history.note, history.last - history.first) == (3, "", 120)


def test_a_renamed_file_keeps_its_history(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"one.py": TEN_LINES})
    repository.commit({"one.py": TEN_LINES + "more\n"})
    (tmp_path / "one.py").rename(tmp_path / "two.py")
    repository.commit({})
    (tmp_path / "two.py").rename(tmp_path / "three.py")
    repository.commit({"one.py": "something else entirely\n"})

    assert churn(read_history(tmp_path)) == {"three.py": 4, "one.py": 1}


def test_two_files_that_change_names_are_not_mixed_up(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"a.py": TEN_LINES})
    repository.commit({"a.py": TEN_LINES + "1\n"})
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    repository.commit({})
    repository.commit({"a.py": "entirely new\n" * 20})

    assert churn(read_history(tmp_path)) == {"b.py": 3, "a.py": 1}


def test_merges_count_by_the_commits_they_bring(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"a.py": "1\n"})
    repository.git("checkout", "--quiet", "-b", "side")
    repository.commit({"b.py": "2\n"})
    repository.git("checkout", "--quiet", "main")
    repository.commit({"a.py": "3\n"})
    repository.git("merge", "--quiet", "--no-edit", "side")

    history = read_history(tmp_path)

    assert (history.commits, churn(history)) == (3, {"a.py": 2, "b.py": 1})


def test_odd_names_are_stored_as_everywhere_else(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"new\nline.py": "x\n", "tab\t.py": "x\n", "\x02.py": "x\n"}, author="Li\tHua")

    history = read_history(tmp_path)

    assert set(churn(history)) == {"new\\x0aline.py", "tab\\x09.py", "\\x02.py"}
    assert history.authors == [Author("Li\\x09Hua", 1)]


def test_a_part_of_a_repository_has_its_own_history(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    repository.commit({"part/a.py": "1\n", "b.py": "1\n"})
    repository.commit({"b.py": "2\n"})

    history = read_history(tmp_path / "part")

    assert (history.commits, churn(history)) == (1, {"a.py": 1})


def test_only_so_many_commits_are_read(tmp_path: Path) -> None:
    repository = Repository(tmp_path)
    for number in range(5):
        repository.commit({"a.py": f"{number}\n"})

    limited = read_history(tmp_path, commit_limit=3)
    exact = read_history(tmp_path, commit_limit=5)

    assert (limited.commits, limited.note) == (3, "Only the newest 3 commits were read.")
    assert (exact.commits, exact.note) == (5, "")


def test_a_shallow_clone_says_so(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "origin")
    repository.commit({"a.py": "1\n"})
    repository.commit({"a.py": "2\n"})
    repository.git("clone", "--quiet", "--depth=1", repository.root.as_uri(), str(tmp_path / "clone"))

    history = read_history(tmp_path / "clone")

    assert (history.commits, history.note) == (1, "This is a shallow clone: its oldest commits are missing.")


def test_without_a_history_there_is_a_reason(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "fresh")
    write(repository.root, {"a.py": ""})
    outside = write(tmp_path / "outside", {"a.py": ""})
    damaged = write(tmp_path / "damaged", {".git": "gitdir: nowhere\n"})

    assert read_history(repository.root).note == "The repository has no commits yet."
    assert read_history(outside).note == "The directory is not in a git work tree."
    assert read_history(damaged).note


def test_a_machine_without_git_is_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert read_history(tmp_path).note == "git is not installed here, or not on the PATH."
