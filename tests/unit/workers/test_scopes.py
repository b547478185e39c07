"""Where a step stands: keys, counts, positions, branches; and failures as records and back."""

from __future__ import annotations

import msgspec
import pytest

from tenuto.errors import InvalidInput, StepFailed
from tenuto.workers.failures import class_of, describe, restored
from tenuto.workers.scopes import Scope, scope_of


def test_a_key_names_scope_step_and_count() -> None:
    scope = Scope(owner=None)
    places = []
    for name in ("fetch", "fetch", "store"):
        place = scope.take(name)
        place.leave()
        places.append((place.key, place.position))
    assert places == [("fetch#0", 0), ("fetch#1", 1), ("store#0", 2)]
    inner = scope.branch(scope.advance(), 1).branch(0, 2)
    assert inner.take("fetch").key == "3.1/0.2/fetch#0"


@pytest.mark.parametrize(
    ("key", "path"),
    [("a#0", ""), ("3.1/a#0", "3.1/"), ("3.1/0.2/a#0", "3.1/0.2/"), ("read src/a.py#1", ""), ("0.1/x/y#0", "0.1/")],
)
def test_the_scope_is_read_back_from_a_key(key: str, path: str) -> None:
    assert scope_of(key) == path


@pytest.mark.parametrize("name", ["", "a\nb", "1.2/a", "x" * 300])
def test_names_that_cannot_be_keys_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        Scope(owner=None).take(name)


class Odd(Exception):
    def __init__(self, *, code: int) -> None:
        self.code = code

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_an_exception_without_text_is_described_all_the_same() -> None:
    record = describe(Odd(code=1))
    assert record.type == "Odd"
    assert "RuntimeError" in record.message
    assert describe(ValueError("half a pair: \ud800")).message == "half a pair: ?"


def test_a_long_traceback_keeps_its_end() -> None:
    def deep(n: int) -> None:
        if n:
            deep(n - 1)
        raise ValueError("x" * 10_000)

    with pytest.raises(ValueError, match="x") as caught:
        deep(50)
    record = describe(caught.value)
    assert len(record.message) == len(record.traceback) == 4_000


@pytest.mark.parametrize("error", [ValueError("no"), KeyError("k"), UnicodeDecodeError("utf-8", b"", 0, 1, "bad")])
def test_a_failure_is_raised_again_as_its_own_class_where_that_is_possible(error: Exception) -> None:
    again = restored("s#0", describe(error), msgspec.json.decode(class_of(error)))
    assert isinstance(again, type(error) | StepFailed)
    assert again.__notes__ == [f"recorded as the outcome of step 's#0': {type(error).__name__}: {error}"]


def test_a_failure_whose_class_is_gone_says_what_it_was() -> None:
    again = restored("s#0", describe(ValueError("no")), ["nowhere", "Gone"])
    assert isinstance(again, StepFailed)
    assert str(again) == "step 's#0' failed: ValueError: no"
    assert again.error.type == "ValueError"
