"""What of a value is stored apart: its large parts, under the hash of their content, once per tree.

    {"query": "Compare these.", "document": "<200 kB>"}

becomes

    {"$parts": [["<hash>", "document"]], "value": {"query": "Compare these.", "document": null}}

A part is whatever has 16 KiB of JSON or more: a text, or an object or list which is still that large when its own large
members are taken out of it. So the document of twenty children, the result of a tool and the request that repeats it,
or the history of a fork are stored once, however they are wrapped. Where the value itself is the only part, `{"$blob":
"<hash>"}` stands for it. A value that somebody made to look like one of the two forms is stored apart as a whole, so
that it comes back as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import msgspec

__all__ = ["LARGE_VALUE", "apart", "digest", "joined", "references"]

LARGE_VALUE = 16 * 1024
"""From this many bytes of JSON on, a value or a part of one is stored once per tree under the hash of its content."""

_DEEPEST = 32
"""Levels of a value whose members are looked at: deeper ones stay where they are."""

_BLOB = b'{"$blob":"'
_PARTS = b'{"$parts":[['

Path: TypeAlias = tuple[str | int, ...]
Parts: TypeAlias = Sequence[tuple[str, Path]]
"""Hashes, and where in the value they belong; the outer of two that lie in one another comes first."""


class _Divided(msgspec.Struct, forbid_unknown_fields=True):
    """A value without its large parts."""

    parts: list[Annotated[list[str | int], msgspec.Meta(min_length=1)]] = msgspec.field(name="$parts")
    value: msgspec.Raw


def digest(data: bytes) -> str:
    """The content hash of `data`: BLAKE2b, 160 bits, hexadecimal."""
    return hashlib.blake2b(data, digest_size=20).hexdigest()


def apart(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """What to store in place of the JSON `data`, and what is stored apart, by its hash."""
    if len(data) < LARGE_VALUE:
        if not references(data):
            return data, {}
        key = digest(data)
        return _BLOB + key.encode() + b'"}', {key: data}
    blobs: dict[str, bytes] = {}
    parts: list[tuple[str, Path]] = []
    rest = _without(data, (), parts, blobs)
    if len(parts) == 1 and not parts[0][1]:
        return _BLOB + parts[0][0].encode() + b'"}', blobs
    return msgspec.json.encode(_Divided([[key, *path] for key, path in parts], msgspec.Raw(rest))), blobs


def references(stored: bytes) -> tuple[str, ...]:
    """The hashes of what `stored` needs to be whole; none where it is."""
    return tuple(key for key, _ in _parts_of(stored)[0])


def joined(stored: bytes, blobs: Mapping[str, bytes]) -> bytes:
    """The value that `stored` stands for. blobs: what lies under its `references`."""
    parts, rest = _parts_of(stored)
    return _with(rest, parts, blobs)


def _without(data: bytes, path: Path, parts: list[tuple[str, Path]], blobs: dict[str, bytes]) -> bytes:
    """`data` without its large parts, which are added to the other two."""
    inner: list[tuple[str, Path]] = []
    if len(path) < _DEEPEST and data[:1] in (b"{", b"["):
        members = _members(data)
        named = members.items() if isinstance(members, dict) else enumerate(members)
        large = [(name, bytes(member)) for name, member in named if len(member) >= LARGE_VALUE]
        if large:
            for name, member in large:
                members[name] = msgspec.Raw(_without(member, (*path, name), inner, blobs))
            data = msgspec.json.encode(members)
    if len(data) >= LARGE_VALUE:
        key = digest(data)
        blobs[key] = data
        parts.append((key, path))
        data = b"null"
    parts += inner
    return data


def _with(data: bytes, parts: Parts, blobs: Mapping[str, bytes]) -> bytes:
    """`data` with `parts` in their places."""
    if parts and not parts[0][1]:
        data, parts = blobs[parts[0][0]], parts[1:]
    if not parts:
        return data
    inner: dict[str | int, list[tuple[str, Path]]] = {}
    for key, (name, *path) in parts:
        inner.setdefault(name, []).append((key, tuple(path)))
    members = _members(data)
    for name, theirs in inner.items():
        members[name] = msgspec.Raw(_with(bytes(members[name]), theirs, blobs))
    return msgspec.json.encode(members)


def _members(data: bytes) -> Any:
    """The members of an object or a list, as they stand there."""
    return msgspec.json.decode(data, type=dict[str, msgspec.Raw] if data[:1] == b"{" else list[msgspec.Raw])


def _parts_of(stored: bytes) -> tuple[Parts, bytes]:
    """The parts that `stored` refers to, and what they belong into; no parts for a value that refers to none."""
    if stored.startswith(_BLOB) and len(stored) == len(_BLOB) + 42:
        return [(stored[len(_BLOB) : -2].decode(), ())], b"null"
    if stored.startswith(_PARTS):
        try:
            found = msgspec.json.decode(stored, type=_Divided)
        except msgspec.MsgspecError:
            return [], stored
        return [(str(key), tuple(path)) for key, *path in found.parts], bytes(found.value)
    return [], stored
