"""Errors and signals as text that can be shown, sent and kept."""

from __future__ import annotations

import signal

import pytest

from tenuto.supervisor.texts import error_text, message_of, signal_name, traceback_text


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such table"), "ValueError: no such table"),
        (ValueError(), "ValueError"),
        (Mute(), "Mute: (its text cannot be made: RuntimeError)"),
        (OSError("no route to postgres://ada:secret@db/x"), "OSError: no route to postgres://ada:***@db/x"),
        (OSError("no file \udcff"), "OSError: no file \\udcff"),
    ],
)
def test_an_error_is_one_text_whatever_it_is(error: Exception, text: str) -> None:
    assert error_text(error) == text


def test_a_huge_error_is_cut() -> None:
    # Given
    error = ValueError("x" * 10_000_000)
    # Then
    assert message_of(error).endswith("x…")
    assert max(len(error_text(error)), len(traceback_text(error))) < 10_000


def test_a_traceback_ends_with_the_error() -> None:
    with pytest.raises(KeyError) as raised:
        raise KeyError("\udcff")
    found = traceback_text(raised.value)
    assert "test_a_traceback_ends_with_the_error" in found
    assert found.encode().endswith(b"KeyError: '\\udcff'\n")


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (36, "signal 36")])
def test_a_signal_is_called_by_its_name(number: int, name: str) -> None:
    assert signal_name(number) == name
