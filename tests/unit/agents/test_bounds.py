"""Requests without an upper end are told apart from those with one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic_ai.messages import (
    AudioUrl,
    BinaryContent,
    CachePoint,
    DocumentUrl,
    ImageUrl,
    ModelMessage,
    ModelRequest,
    ToolReturnPart,
    UserPromptPart,
    VideoUrl,
)
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.native_tools import CodeExecutionTool, MemoryTool, WebSearchTool

from tenuto.agents.llm.bounds import BesideText, image_tokens, keeps_long, without_end

PLAIN = ModelRequestParameters()
IMAGE = ImageUrl("https://example.org/a.png")
TOOLS = [(WebSearchTool(), True), (CodeExecutionTool(), True), (MemoryTool(), False)]


def said(*content: Any) -> list[ModelMessage]:
    return [ModelRequest([UserPromptPart(["Look.", *content])])]


def beside_text(messages: Sequence[ModelMessage]) -> list[Any]:
    return BesideText().of(messages)


@pytest.mark.parametrize(
    "content",
    [
        AudioUrl("https://example.org/a.mp3"),
        VideoUrl("https://example.org/a.mp4"),
        DocumentUrl("https://example.org/a.pdf"),
        BinaryContent(b"%PDF", media_type="application/pdf"),
        BinaryContent(b"RIFF", media_type="audio/wav"),
    ],
    ids=lambda each: f"{type(each).__name__} {each.media_type}",
)
def test_nobody_knows_what_a_file_is_counted_as(content: Any) -> None:
    for messages in (said(content), [ModelRequest([ToolReturnPart("look", [content], "c1")])]):
        end = without_end(beside_text(messages), None, PLAIN, "openai")
        assert end is not None
        assert content.media_type in end


@pytest.mark.parametrize("image", [IMAGE, BinaryContent(b"PNG", media_type="image/png")])
def test_an_image_has_an_end_where_its_provider_says_which(image: Any) -> None:
    messages = said(image, image)
    assert without_end(beside_text(messages), None, PLAIN, "anthropic") is None
    assert image_tokens(beside_text(messages), "anthropic") == 2 * 4_784
    assert without_end(beside_text(messages), None, PLAIN, "elsewhere") is not None
    assert image_tokens(beside_text(messages), "elsewhere") == 0


def test_text_has_an_end() -> None:
    messages = said(BinaryContent(b"a,b", media_type="text/csv"), CachePoint())
    assert without_end(beside_text(messages), {"temperature": 0.5}, PLAIN, "elsewhere") is None
    assert image_tokens(beside_text(messages), "openai") == 0


@pytest.mark.parametrize(("tool", "endless"), TOOLS)
def test_tools_that_the_provider_runs_have_no_end(tool: Any, endless: bool) -> None:
    end = without_end([], None, ModelRequestParameters(native_tools=[tool]), "anthropic")
    assert (end is not None and tool.kind in end) == endless


def test_a_body_of_ones_own_may_ask_for_anything() -> None:
    assert without_end([], {"extra_body": {"n": 10}}, PLAIN, "openai") == "extra_body may ask for anything"


@pytest.mark.parametrize(
    ("settings", "content", "long"),
    [
        ({}, (), False),
        ({"cache": "5m"}, (CachePoint(),), False),
        ({"cache": "1h"}, (), True),
        ({"anthropic_cache_messages": "1h"}, (), True),
        ({"cache": {"retention": "12h"}}, (), True),
        ({}, (CachePoint(ttl="1h"),), True),
    ],
)
def test_what_is_kept_for_an_hour_is_noticed(settings: Any, content: Any, long: bool) -> None:
    assert keeps_long(beside_text(said(*content)), settings) == long
    dear = without_end(beside_text(said(*content)), settings, PLAIN, "openai")
    assert (dear is not None) == ("12h" in str(settings))


def test_what_is_not_text_is_found_as_a_conversation_grows_changes_and_shrinks() -> None:
    # Given a conversation whose first message has an image
    finder = BesideText()
    first, second, third = (said(image)[0] for image in (IMAGE, "text", CachePoint()))
    assert finder.of([first]) == [IMAGE]
    # When it grows, and its last message is added to before it does
    assert finder.of([first, second]) == [IMAGE]
    second.parts = [*second.parts, UserPromptPart([IMAGE])]
    assert finder.of([first, second]) == [IMAGE, IMAGE]
    assert finder.of([first, second, third]) == [IMAGE, IMAGE, CachePoint()]
    # Then all of it is found, and so it is where messages were left out, put in, or all of them
    assert finder.of([second, third]) == [IMAGE, CachePoint()]
    assert finder.of([second, first, third]) == [IMAGE, IMAGE, CachePoint()]
    assert finder.of([second]) == [IMAGE]
    assert finder.of([]) == []
