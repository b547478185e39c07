"""Exceptions as records."""

from __future__ import annotations

import pytest

from tenuto.workers.failures import describe


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise OSError("no words")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no such order"), "no such order"),
        (ValueError(), "ValueError()"),
        (Unspeakable(), "(its text cannot be had: OSError)"),
        (
            ExceptionGroup("unhandled errors in a TaskGroup", [KeyError("a"), ValueError("no, sk-abcdefghijkl")]),
            "unhandled errors in a TaskGroup (2 sub-exceptions): KeyError: 'a'; ValueError: no, sk-***",
        ),
        (
            ExceptionGroup("outer", [ExceptionGroup("inner", [OSError("away")])]),
            "outer (1 sub-exception): ExceptionGroup: inner (1 sub-exception): OSError: away",
        ),
    ],
)
def test_the_text_of_an_exception_says_what_went_wrong(error: BaseException, text: str) -> None:
    assert describe(error).message == text


def test_a_large_group_is_told_in_part() -> None:
    record = describe(ExceptionGroup("many", [ValueError(f"number {number}") for number in range(100)]))
    assert record.message.startswith("many (100 sub-exceptions): ValueError: number 0; ")
    assert record.message.count("ValueError") == 5
