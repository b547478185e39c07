"""Large parts of values: once under their hash, however they are wrapped; and every value comes back as it was."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.tasks.blobs import LARGE_VALUE, apart, digest, joined, references
from tenuto.tasks.values import encode

DOCUMENT = "word " * 10_000
ROWS = [{"row": number, "text": "x" * 50} for number in range(2_000)]
HASH = "0" * 40

LARGE = st.sampled_from(["a" * LARGE_VALUE, "b" * (2 * LARGE_VALUE), ["c" * 1_000] * 20])
FORGED = st.sampled_from(
    [
        {"$blob": HASH},
        {"$parts": [[HASH, "a"]], "value": {"a": None}},
        {"$parts": [[HASH]], "value": None},
        {"$parts": [[]], "value": None},
        {"$parts": []},
        {"$parts": [[1]], "value": 1},
    ]
)
VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | LARGE | FORGED,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=10,
)


def stored(value: Any) -> tuple[bytes, dict[str, bytes]]:
    return apart(encode(value, "a value"))


def test_a_small_value_stays_as_it_is_and_a_large_one_is_a_reference() -> None:
    small, large = "x" * (LARGE_VALUE - 3), "x" * (LARGE_VALUE - 2)
    assert stored(small) == (encode(small, ""), {})
    reference, blobs = stored(large)
    assert blobs == {digest(encode(large, "")): encode(large, "")}
    assert json.loads(reference) == {"$blob": digest(encode(large, ""))}


def test_a_part_has_one_hash_however_it_is_wrapped() -> None:
    # Given a document, and rows, in values of different shapes
    wrapped = [
        DOCUMENT,
        {"query": "Compare.", "document": DOCUMENT},
        {"kind": "tool_return", "result": DOCUMENT},
        {"messages": [{"parts": [{"content": DOCUMENT}]}, {"parts": [{"content": [DOCUMENT, "short"]}]}]},
    ]
    rows = [ROWS, {"result": ROWS}, [{"content": ROWS}]]
    # Then each is stored apart, once, and nothing else is
    assert {key for value in wrapped for key in stored(value)[1]} == {digest(encode(DOCUMENT, ""))}
    assert {key for value in rows for key in stored(value)[1]} == {digest(encode(ROWS, ""))}
    assert all(len(stored(value)[0]) < 500 for value in (*wrapped, *rows))


def test_a_part_that_holds_another_is_stored_without_it() -> None:
    value = {"rows": [*ROWS, DOCUMENT], "beside": DOCUMENT}
    rest, blobs = stored(value)
    assert len(blobs) == 2
    assert sum(map(len, blobs.values())) < len(encode(value, "")) - len(DOCUMENT)
    assert joined(rest, blobs) == encode(value, "")


@pytest.mark.parametrize("depth", [1, 31, 32, 33, 200])
def test_what_is_nested_deeply_comes_back_too(depth: int) -> None:
    value: Any = DOCUMENT
    for level in range(depth):
        value = [value] if level % 2 else {"in": value}
    rest, blobs = stored(value)
    assert blobs
    assert joined(rest, blobs) == encode(value, "")


@given(VALUES)
def test_every_value_comes_back_as_it_was(value: Any) -> None:
    data = encode(value, "a value")
    rest, blobs = apart(data)
    assert set(references(rest)) == set(blobs)
    assert joined(rest, blobs) == data
    assert not blobs or all(digest(each) == key for key, each in blobs.items())
    assert blobs or rest == data


@given(VALUES)
def test_only_large_values_and_those_that_look_like_references_are_stored_apart(value: Any) -> None:
    data = encode(value, "a value")
    assert bool(apart(data)[1]) == (len(data) >= LARGE_VALUE or bool(references(data)))


@pytest.mark.parametrize("value", [{"$blob": HASH}, {"$parts": [[HASH, "a"]], "value": {"a": None}}])
def test_a_value_that_looks_like_a_reference_cannot_be_mistaken_for_one(value: Any) -> None:
    forged = encode(value, "a value")
    assert references(forged) == (HASH,)
    reference, blobs = apart(forged)
    assert references(reference) == (digest(forged),) != (HASH,)
    assert joined(reference, blobs) == forged


def test_equal_content_has_one_hash() -> None:
    assert digest(b"a") == digest(b"a") != digest(b"b")
    assert len(digest(b"")) == 40
    assert msgspec.json.decode(joined(*stored(ROWS))) == ROWS
