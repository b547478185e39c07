"""Summaries that a provider puts in place of what was said before: sealed, as providers hand them out.

What is sealed here names the answers that it stands for, so that a script goes on with the turn that its conversation
has reached, and the calls that have no result yet.
"""

from __future__ import annotations

import base64
import binascii

import msgspec
from msgspec import Struct

from tenuto.testing.answer import Answer
from tenuto.testing.conversation import Message, Request
from tenuto.testing.wire import Refused

__all__ = ["Compacted", "opened", "sealed"]


class Compacted(Struct, frozen=True):
    """What a summary stands for: `text` is the summary itself, `calls` are the ids of those without a result."""

    text: str
    answers: int
    calls: tuple[str, ...] = ()

    @property
    def message(self) -> Message:
        """The summary as the model reads it."""
        return Message("user", self.text)


def sealed(answer: Answer) -> str:
    """The summary that belongs to `answer`, of all that came before it, as text that nobody else reads."""
    request = answer.request
    text = answer.text if request.compacts else answer.compaction
    found = Compacted(text, request.turn - 1, tuple(_open_calls(request)))
    return base64.urlsafe_b64encode(msgspec.json.encode(found)).decode()


def opened(text: object) -> Compacted:
    """What `sealed` has made. Raises `Refused` for anything else."""
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(str(text)), type=Compacted)
    except (binascii.Error, msgspec.MsgspecError, ValueError):
        said = "The encrypted content of a compaction item could not be verified."
        raise Refused(said, code="invalid_encrypted_content", param="input") from None


def _open_calls(request: Request) -> list[str]:
    calls = {call.id: None for message in request.messages for call in message.calls}
    for result in (result for message in request.messages for result in message.results):
        calls.pop(result.id, None)
    return list(calls)
