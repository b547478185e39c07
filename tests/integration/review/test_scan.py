"""Scanning and reading trees as they are found: odd names, pipes, loops of links, broken and binary files."""

import os
import socket
from pathlib import Path

import pytest

from tenuto.errors import InvalidInput
from tenuto.review.judge import judge
from tenuto.review.report import write_report
from tenuto.review.scan import scan_tree
from tenuto.review.source import READ_LIMIT
from tenuto.review.tree import Scan
from tests.integration.review.trees import PROJECT, Repository, read, review, write
from tests.unit.review.test_report import WHEN


def sources(scan: Scan) -> list[str]:
    return [f"{package.directory}/{file.name}" for package in scan.packages for file in package.files]


def reasons(scan: Scan) -> dict[str, int]:
    return {entry.reason: entry.count for entry in scan.skipped}


def test_an_empty_directory_is_an_empty_tree(tmp_path: Path) -> None:
    scan = scan_tree(tmp_path)

    assert (scan.files, scan.packages, scan.languages, scan.skipped) == (0, [], [], [])
    assert scan.listed_by == "walk"


def test_a_directory_that_cannot_be_listed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")

    for name in ("file", "absent", "loop"):
        with pytest.raises(InvalidInput, match=f"Cannot review .*{name}: .* Name a directory that can be listed"):
            scan_tree(tmp_path / name)


def test_files_are_counted_by_language_and_kind(tmp_path: Path) -> None:
    write(
        tmp_path, {**PROJECT, "data.json": "{}", "image.png": "not looked into", "blob": b"\0\1", "run": "#!/bin/sh\n"}
    )

    scan = scan_tree(tmp_path)

    assert {entry.name: entry.files for entry in scan.languages} == {
        "Python": 5,
        "Shell": 2,
        "Markdown": 1,
        "JSON": 1,
    }
    assert (scan.files, scan.binary) == (11, 2)
    assert "./run" in sources(scan)


def test_directories_of_tools_are_not_entered(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a.py": "",
            "node_modules/x/index.js": "",
            "deep/__pycache__/a.py": "",
            "myenv/pyvenv.cfg": "",
            "myenv/lib/b.py": "",
            "cache/CACHEDIR.TAG": "",
            "cache/c.py": "",
        },
    )

    scan = scan_tree(tmp_path)

    assert sources(scan) == ["./a.py"]
    assert list(reasons(scan).values()) == [4]


def test_nothing_is_opened_that_could_hold_the_scan_up(tmp_path: Path) -> None:
    write(tmp_path, {"a/b.py": "x = 1\n"})
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "a" / "loop").symlink_to("..")
    (tmp_path / "dangling.py").symlink_to("absent")
    with socket.socket(socket.AF_UNIX) as listener:
        # A socket's address is short, a test's directory may not be.
        here = os.open(tmp_path, os.O_RDONLY)
        try:
            listener.bind(f"/proc/self/fd/{here}/socket.py" if Path("/proc/self/fd").exists() else "socket.py")
        finally:
            os.close(here)

        scan, facts = read(tmp_path)

    assert [file.path for file in facts.files] == ["a/b.py"]
    assert reasons(scan)["Symbolic links are not followed"] == 2
    assert reasons(scan)["Pipes, sockets and devices are not opened"] >= 1


def test_any_file_name_can_be_read_and_reported(tmp_path: Path) -> None:
    names = [b"new\nline.py", b"\xff\xfe.py", b"a|b`c.py", b"\\x41.py", b" .py", "größe.py".encode(), b"#* [x](y).py"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_text("x = 1\n")

    metrics = review(tmp_path)

    assert metrics.totals.source_files == len(names)
    assert metrics.totals.lines.code == len(names)
    assert judge(write_report(metrics, WHEN), metrics, tmp_path) == []


def test_files_that_cannot_be_read_as_source_are_set_aside(tmp_path: Path) -> None:
    write(tmp_path, {"binary.c": b"int\0x;", "wide.ts": "let x = 1\n".encode("utf-16"), "latin.py": b"x = '\xe9'\n"})
    with (tmp_path / "huge.sql").open("wb") as file:
        file.truncate(READ_LIMIT + 1)  # sparse: it takes no room on the disk

    _, facts = read(tmp_path)

    assert [(file.path, file.lines.code, file.broken is None) for file in facts.files] == [
        ("latin.py", 1, False),
        ("wide.ts", 1, True),
    ]
    assert {entry.reason: entry.examples for entry in facts.skipped} == {
        "Named like source, but not text": ["binary.c"],
        "Source files larger than 16 MiB are not read": ["huge.sql"],
    }


def test_a_file_that_vanishes_after_the_scan_is_noted(tmp_path: Path) -> None:
    from tenuto.review.parcels import parcels
    from tenuto.review.reading import read_parcel

    write(tmp_path, {"a.py": "", "b.py": ""})
    scan = scan_tree(tmp_path)
    (tmp_path / "a.py").unlink()

    [reading] = [read_parcel(tmp_path, parcel, scan.own_names) for parcel in parcels(scan)]

    assert [file.path for file in reading.files] == ["b.py"]
    assert [entry.examples for entry in reading.skipped] == [["a.py"]]


def test_more_files_than_the_limit_are_cut_off(tmp_path: Path) -> None:
    write(tmp_path, {f"{number}.py": "" for number in range(10)})

    scan = scan_tree(tmp_path, file_limit=7)

    assert (scan.files, scan.cut_off) == (7, True)


def test_the_report_itself_can_be_kept_apart(tmp_path: Path) -> None:
    write(tmp_path, {"report.md": "# Review", "a.py": ""})

    assert scan_tree(tmp_path, apart=["report.md"]).files == 1


def test_git_says_which_files_there_are(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({**PROJECT, ".gitignore": "ignored.py\nbuilt/\n", "deleted.py": ""})
    write(repository.root, {"ignored.py": "", "built/b.py": "", "new.py": ""})
    (repository.root / "deleted.py").unlink()
    Repository(repository.root / "inner").commit({"i.py": ""})

    scan = scan_tree(repository.root)

    assert scan.listed_by == "git"
    assert "./new.py" in sources(scan)
    assert not {"./ignored.py", "built/b.py", "./deleted.py", "inner/i.py"} & set(sources(scan))
    assert reasons(scan) == {
        "Listed by git, but not in the work tree": 1,
        "Repositories inside this one are not entered": 1,
    }


def test_a_part_of_a_repository_and_an_ignored_one_are_trees_too(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({**PROJECT, ".gitignore": "built/\n"})
    write(repository.root, {"built/b.py": ""})

    part = scan_tree(repository.root / "src")
    ignored = scan_tree(repository.root / "built")

    assert (part.listed_by, sources(part)[0]) == ("git", "app/__init__.py")
    assert (ignored.listed_by, sources(ignored)) == ("walk", ["./b.py"])
    assert ignored.listing_note == "The repository around this directory ignores it."


def test_a_repository_runs_none_of_its_programs(tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit({"a.py": "x = 1\n"})
    repository.commit({"a.py": "x = 2\n", ".gitattributes": "*.py diff=evil\n"})
    ran = tmp_path / "ran"
    script = tmp_path / "evil"
    script.write_text(f"#!/bin/sh\ntouch '{ran}'\n")
    script.chmod(0o755)
    for setting in ("core.fsmonitor", "diff.external", "diff.evil.textconv", "diff.evil.command", "core.sshCommand"):
        repository.git("config", setting, str(script))

    review(repository.root)

    assert not ran.exists()


def test_a_small_project_gives_every_number(tmp_path: Path) -> None:
    write(tmp_path, PROJECT)

    metrics = review(tmp_path)

    assert metrics.totals.files == 7
    assert metrics.totals.source_files == 6
    assert metrics.totals.test_files == 1
    assert metrics.cycle_count == 0  # one of the two imports runs in a function
    assert (metrics.coverage.direct, metrics.coverage.indirect, metrics.coverage.none) == (1, 1, 1)
    assert [row.path for row in metrics.unreached] == ["src/app/unused.py"]
    assert [row.path for row in metrics.undocumented] == ["src/app/core.py", "src/app/unused.py"]
