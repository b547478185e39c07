"""Parameters and results on the wire.

Queries say the type of each parameter (`$1::bigint`, `$2::text[]`), so that the server infers nothing from values and
keeps one plan for a query. Arrays travel in the binary format: they are most of what is sent, and need no quoting.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from struct import Struct, pack
from typing import Any

import psycopg
from psycopg import pq

__all__ = ["encoded", "types_of", "value_of"]

_PARAMETER = re.compile(r"\$(\d+)::(\w+)(\[\])?")
_INT8, _FLOAT8, _TEXT = 20, 701, 25
_INTEGERS = frozenset({20, 21, 23})
_FLOATS = frozenset({700, 701})
_BOOLEAN, _BYTES = 16, 17

_array = Struct(">iiIii").pack
_length = Struct(">i").pack
_one = {"q": Struct(">iq").pack, "d": Struct(">id").pack}
_NULL = _length(-1)


@cache
def types_of(sql: bytes) -> tuple[str, ...]:
    """The types of a query's parameters, in order: `bigint`, `text[]`, ..."""
    found = {int(number): name + (array or "") for number, name, array in _PARAMETER.findall(sql.decode())}
    return tuple(found[number] for number in sorted(found))


def encoded(types: Sequence[str], parameters: Sequence[Any]) -> tuple[list[bytes | None], list[int]]:
    """Values and formats as libpq takes them. Raises `psycopg.DataError` for text that the server could not keep."""
    values: list[bytes | None] = []
    formats: list[int] = []
    for name, value in zip(types, parameters, strict=True):
        array = _ARRAYS.get(name)
        if array is not None:
            values.append(array(value))
            formats.append(pq.Format.BINARY)
        elif value is None or isinstance(value, bytes):
            values.append(value)
            formats.append(pq.Format.BINARY)
        else:
            text = value if isinstance(value, str) else repr(value)
            if "\0" in text:  # libpq would take what stands before it for the whole
                raise psycopg.DataError("PostgreSQL keeps no text with a NUL character")
            values.append(text.encode())
            formats.append(pq.Format.TEXT)
    return values, formats


def _integers(values: Sequence[int | None]) -> bytes:
    return _numbers(_INT8, "q", values)


def _doubles(values: Sequence[float | None]) -> bytes:
    return _numbers(_FLOAT8, "d", values)


def _numbers(kind: int, code: str, values: Sequence[float | None]) -> bytes:
    """One call of `pack` for all of them: a call for each costs more than the rules of a task do."""
    if len(values) == 1:
        (value,) = values
        return _array(1, 1, kind, 1, 1) + (_NULL if value is None else _one[code](8, value))
    known = [each for each in values if each is not None] if None in values else values
    flat: list[float | None] = [8] * (2 * len(known))
    flat[1::2] = known
    data = pack(f">{f'i{code}' * len(known)}", *flat)
    if len(known) < len(values):
        ends = iter(range(12, len(data) + 12, 12))
        data = b"".join(_NULL if each is None else data[(end := next(ends)) - 12 : end] for each in values)
    return _array(1, 1, kind, len(values), 1) + data


def _texts(values: Sequence[str | None]) -> bytes:
    known = [each.encode() for each in values if each is not None]
    parts: list[bytes] = [b""] * (2 * len(known))
    parts[::2] = map(_length, map(len, known))
    parts[1::2] = known
    if len(known) < len(values):
        each_known = iter(zip(parts[::2], known, strict=True))
        parts = [_NULL if each is None else b"".join(next(each_known)) for each in values]
    return _array(1, 1, _TEXT, len(values), 1) + b"".join(parts)


_ARRAYS: dict[str, Callable[[Any], bytes]] = {"bigint[]": _integers, "float[]": _doubles, "text[]": _texts}


def value_of(result: pq.abc.PGresult, row: int = 0, column: int = 0) -> Any:
    """One value of a result: a number, a truth value, bytes, else text."""
    data = result.get_value(row, column)
    if data is None:
        return None
    kind = result.ftype(column)
    if kind in _INTEGERS:
        return int(data)
    if kind in _FLOATS:
        return float(data)
    if kind == _BOOLEAN:
        return data == b"t"
    if kind == _BYTES:
        return bytes.fromhex(data[2:].decode())
    return data.decode()
