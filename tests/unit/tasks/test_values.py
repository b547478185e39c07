"""Values: what can be stored, comes back the same; what cannot is refused by the name of its type."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.errors import TooLarge, Unstorable
from tenuto.tasks.values import LARGEST_VALUE, decode, encode


@dataclass
class Point:
    x: int
    y: float = 0.5


class Line(msgspec.Struct):
    start: Point
    tags: tuple[str, ...] = ()


class Order(pydantic.BaseModel):
    number: int
    at: datetime
    lines: list[str] = []


class Colour(Enum):
    RED = "red"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_whatever_json_can_express_comes_back_the_same(value: Any) -> None:
    back = decode(encode(value, "the payload"))
    assert back == value
    assert encode(back, "the payload") == encode(value, "the payload")


def test_text_keeps_every_character_and_a_number_every_digit() -> None:
    assert decode(encode(2**80, "the payload")) == 2**80
    for text in ("a\x00b", "\u2028", "名前", "🙂", "\x1b[31m", '"\\'):
        assert decode(encode({"text": text}, "the payload")) == {"text": text}


@pytest.mark.parametrize(
    ("value", "type"),
    [
        (Point(1, 2.5), Point),
        (Line(Point(1), ("a",)), Line),
        (Order(number=7, at=datetime(2025, 6, 1, tzinfo=UTC), lines=["a"]), Order),
        ([Point(1), Point(2)], list[Point]),
        ({"a": Point(1)}, dict[str, Point]),
        (datetime(2025, 6, 1, 12, 30, tzinfo=UTC), datetime),
        (UUID(int=5), UUID),
        (Colour.RED, Colour),
        (b"\x00\xff", bytes),
        ((1, "a"), tuple[int, str]),
        ({1, 2}, set[int]),
        (None, None),
    ],
)
def test_typed_values_come_back_as_their_type(value: Any, type: Any) -> None:
    assert decode(encode(value, "the payload"), type) == value


def test_models_inside_other_values_are_stored_too() -> None:
    order = Order(number=7, at=datetime(2025, 6, 1, tzinfo=UTC))
    assert decode(encode({"orders": [order]}, "the payload"))["orders"][0]["number"] == 7


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf], ids=["nan", "inf", "-inf"])
@pytest.mark.parametrize(
    "around", [lambda it: it, lambda it: [None, it], lambda it: {"a": {"b": (1.0, it)}}], ids=["bare", "list", "deep"]
)
def test_what_is_no_number_is_refused_instead_of_lost(number: float, around: Callable[[float], Any]) -> None:
    with pytest.raises(Unstorable, match=r"^the result cannot be stored: it contains NaN or an infinity"):
        encode(around(number), "the result")


def test_none_is_a_value_beside_numbers() -> None:
    assert encode({"a": None, "b": [1.5, None]}, "the result") == b'{"a":null,"b":[1.5,null]}'


class Opaque:
    pass


def cyclic() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Opaque(), "Opaque"),
        ({"a": [Opaque()]}, "Opaque"),
        (Opaque, "type"),
        (lambda: None, "function"),
        (cyclic(), "contains itself"),
        ({Point: 1}, "the payload of task-1"),
        ("\ud800", "the payload of task-1"),
        (object(), "object"),
        (Order, "the payload of task-1"),
    ],
)
def test_what_has_no_json_form_is_refused_with_one_sentence(value: Any, said: str) -> None:
    with pytest.raises(Unstorable, match=said) as refused:
        encode(value, "the payload of task-1")
    assert "the payload of task-1" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    with pytest.raises(Unstorable, match="nested too deeply"):
        encode(deep(), "the payload")


def test_a_value_above_the_limit_is_refused_and_one_at_the_limit_is_not() -> None:
    at_limit = "x" * (LARGEST_VALUE - 2)
    assert len(encode(at_limit, "the payload")) == LARGEST_VALUE
    with pytest.raises(TooLarge, match=r"the payload is 16,777,217 bytes .* object store"):
        encode(at_limit + "x", "the payload")


@pytest.mark.parametrize(("data", "type"), [(b'{"x":"a"}', Point), (b"{}", Order), (b'"a"', int), (b"[1", list[int])])
def test_a_stored_value_that_does_not_fit_is_named(data: bytes, type: Any) -> None:
    with pytest.raises(Unstorable, match="does not fit"):
        decode(data, type)
