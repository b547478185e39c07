"""What people type: accepted forms, and one sentence for everything else."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from tenuto.cli.errors import ExitCode, exit_code_of, one_line
from tenuto.cli.parsing import instant, json_value, pairs, read_text, seconds
from tenuto.errors import (
    AlreadyFinished,
    InvalidInput,
    NotFound,
    StoreCorrupt,
    TaskCancelled,
    TenutoError,
    WaitTimeout,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [("90", 90), ("90s", 90), ("1.5h", 5400), ("2d", 172800), ("1h30m", 5400), ("500ms", 0.5), (" 5 min ", 300)],
)
def test_lengths_of_time(text: str, value: float) -> None:
    assert seconds(text, "--timeout") == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1y", "1e9", "nan", "inf", "1h x", "1" * 400])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(InvalidInput, match="--timeout"):
        seconds(text, "--timeout")


def test_instants() -> None:
    assert instant("2030-01-31T08:00Z", "--at") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    assert instant("2030-01-31T08:00", "--at") == datetime(2030, 1, 31, 8, tzinfo=UTC)
    assert instant("+1h", "--at") > datetime.now(UTC)
    with pytest.raises(InvalidInput, match="--at 'tomorrow' is no time"):
        instant("tomorrow", "--at")


def test_json_from_the_command_line_and_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "p.json"
    file.write_text('{"a": [1, 2]}')
    assert json_value('{"a": 1}', "--payload") == {"a": 1}
    assert json_value(f"@{file}", "--payload") == {"a": [1, 2]}


def test_json_that_is_none_says_so_and_helps_with_quotes() -> None:
    with pytest.raises(InvalidInput, match=r"--payload is not JSON.*a text needs quotes"):
        json_value("hello", "--payload")
    with pytest.raises(InvalidInput, match="--payload is not JSON"):
        json_value("[" * 100_000, "--payload")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"ok\xff")
    with pytest.raises(NotFound, match="there is no file"):
        read_text(str(tmp_path / "none"), "--payload")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_text(str(tmp_path / "binary"), "--payload")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_text(str(tmp_path), "--payload")
    with pytest.raises(InvalidInput, match="cannot be a file name"):
        read_text("a\0b", "--payload")


def test_pairs() -> None:
    assert pairs(["a=1", "b=text", "c=x=y"], "--metadata") == {"a": 1, "b": "text", "c": "x=y"}
    with pytest.raises(InvalidInput, match="key=value"):
        pairs(["a"], "--metadata")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("x"), ExitCode.USAGE),
        (NotFound("x"), ExitCode.NOT_FOUND),
        (AlreadyFinished("x", state="done"), ExitCode.USAGE),
        (TaskCancelled("x", reason=""), ExitCode.CANCELLED),
        (WaitTimeout("x"), ExitCode.TIMEOUT),
        (StoreCorrupt("x"), ExitCode.STORE),
        (TenutoError("x"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (RuntimeError("x"), ExitCode.FAILED),
    ],
)
def test_exit_codes(error: BaseException, code: ExitCode) -> None:
    assert exit_code_of(error) is code


def test_an_error_is_one_harmless_line() -> None:
    assert one_line("two\nlines \x1b[1m") == "two lines \\x1b[1m"
    assert one_line(KeyError()) == "KeyError"
