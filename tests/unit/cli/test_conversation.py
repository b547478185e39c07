"""A conversation as text: what each kind of part comes to."""

from __future__ import annotations

from typing import Any

import pytest

from tenuto.cli.conversation import said

BEFORE = "(a summary of what was said before"


@pytest.mark.parametrize(
    ("content", "shown"), [("The shop is open.", f"{BEFORE}: The shop is open.)"), (None, f"{BEFORE})")]
)
def test_a_summary_is_shown_where_it_can_be_read(content: str | None, shown: str) -> None:
    message: dict[str, Any] = {"parts": [{"part_kind": "compaction", "content": content}]}
    assert list(said(message)) == [("assistant", "", shown)]
