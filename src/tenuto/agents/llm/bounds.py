"""What has no upper end: requests of which nobody can say beforehand how much they use at most.

Text is at most one token for each byte. An image is at most what its provider says that an image can be. Of sound,
video, documents and files by address or id, and of images for other providers, nobody knows it without looking inside;
and a tool that the provider runs may be used, and billed, again and again within one request. Such a request has no
room in a budget in money; without one it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from operator import is_
from typing import Any, TypeAlias

from pydantic_ai.messages import BinaryContent, CachePoint, FileUrl, ImageUrl, ModelMessage, UploadedFile
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

__all__ = ["BesideText", "image_tokens", "keeps_long", "without_end"]

Item: TypeAlias = FileUrl | BinaryContent | UploadedFile | CachePoint
"""What of a request is not text."""

_IMAGE = {"anthropic": 4_784, "openai": 48_169}
"""Tokens of the largest image, by provider: one for 28 x 28 pixels, on models of high resolution at most 4,784
(platform.claude.com/docs/en/build-with-claude/vision); 2,833 and 5,667 for each of at most eight tiles, of the model
for which they are most (developers.openai.com/api/docs/guides/images-vision)."""

_HARMLESS_TOOLS = frozenset({"memory"})
"""Tools of providers that run here."""


class BesideText:
    """What is not text in the requests of a conversation. In a message that others follow it is looked for once: the
    last one may still be added to."""

    def __init__(self) -> None:
        self._seen: list[ModelMessage] = []
        self._found: list[Item] = []

    def of(self, sent: Sequence[ModelMessage]) -> list[Item]:
        """All of it in `sent`, in order."""
        if len(self._seen) >= len(sent) or not all(map(is_, self._seen, sent)):
            self._seen, self._found = [], []
        for message in islice(sent, len(self._seen), max(len(sent) - 1, 0)):
            self._seen.append(message)
            self._found += _items(message)
        return [*self._found, *_items(sent[-1])] if sent else []


def image_tokens(items: Sequence[Item], provider: str) -> int:
    """The most tokens that the images in a request are; 0 for a provider that does not say."""
    return _IMAGE.get(provider, 0) * sum(_is_image(item) for item in items)


def without_end(
    items: Sequence[Item], settings: ModelSettings | None, parameters: ModelRequestParameters, provider: str
) -> str | None:
    """What of a request has no upper end, as a part of a sentence; None where all of it has one."""
    for tool in parameters.native_tools:
        if tool.kind not in _HARMLESS_TOOLS:
            return f"the provider may use its tool {tool.kind!r}, and bill it, any number of times"
    if (settings or {}).get("extra_body"):
        return "extra_body may ask for anything"
    if "12h" in _cached(settings) and provider != "anthropic":
        return "no price list says what twelve hours in the provider's cache cost"
    for item in items:
        if isinstance(item, CachePoint) or (_is_image(item) and provider in _IMAGE):
            continue
        if isinstance(item, FileUrl | UploadedFile) or not item.media_type.startswith("text/"):
            return f"nobody knows how many tokens a file ({item.media_type}) is"
    return None


def keeps_long(items: Sequence[Item], settings: ModelSettings | None) -> bool:
    """The provider is asked to keep input in its cache for an hour or longer, which some charge more for."""
    cached = _cached(settings)
    return any(span in cached for span in ("1h", "12h")) or any(
        isinstance(item, CachePoint) and item.ttl == "1h" for item in items
    )


def _cached(settings: ModelSettings | None) -> str:
    """What the settings say about the provider's cache."""
    return " ".join(str(value) for name, value in (settings or {}).items() if "cache" in name)


def _is_image(item: object) -> bool:
    return isinstance(item, ImageUrl) or (isinstance(item, BinaryContent) and item.is_image)


def _items(message: ModelMessage) -> Iterator[Item]:
    for part in message.parts:
        content = getattr(part, "content", None)
        if content is not None and not isinstance(content, str):
            for item in _flat(content):
                if isinstance(item, FileUrl | BinaryContent | UploadedFile | CachePoint):
                    yield item


def _flat(content: Any) -> Iterator[Any]:
    if isinstance(content, Mapping):
        content = list(content.values())
    if isinstance(content, list | tuple):
        for each in content:
            yield from _flat(each)
    else:
        yield content
