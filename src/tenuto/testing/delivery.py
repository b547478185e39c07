"""How an answer travels: late, whole, in events, cut off, spoilt or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator

import msgspec

from tenuto.testing.answer import Answer
from tenuto.testing.calls import Call, CallLog
from tenuto.testing.http_server import Response
from tenuto.testing.script import Reply
from tenuto.testing.wire import Refused, WireFormat

__all__ = ["Delivery", "send_json"]

HALF_OF_JSON = b'data: {"id": "half", "object": "\n\n'
SPOILT_EVENT = 2
"""The place of the event that is malformed, from 0: SDKs skip some of those before it unread."""

Headers = Iterable[tuple[str, str]]


async def send_json(response: Response, status: int, body: object, headers: Headers = ()) -> None:
    """Sends `body` as JSON."""
    await _send(response, status, msgspec.json.encode(body), "application/json", headers)


class Delivery:
    """The answer to one call, on its way: what becomes of it is noted with the call as it happens."""

    def __init__(self, response: Response, log: CallLog, call: Call, wire: WireFormat) -> None:
        self.response, self.log, self.call, self.wire = response, log, call, wire

    async def refuse(self, refused: Refused, headers: Headers = ()) -> None:
        """Sends the provider's error."""
        body = self.wire.error(refused)
        self.log.note(self.call, status=refused.status, outcome="refused", error=body["error"]["message"])
        await send_json(self.response, refused.status, body, [*self._ids(), *headers])

    async def deliver(self, reply: Reply, answer: Answer) -> None:
        """Sends what `reply` stands for, with all that is to go wrong on its way; waiting is done before."""
        if reply.status >= 400 and reply.error_after_events is None:
            after = [] if reply.retry_after is None else [("retry-after", f"{reply.retry_after:g}")]
            refused = Refused(reply.error, status=reply.status, code=reply.code)
            return await self.refuse(refused, [*after, *reply.headers.items()])
        if 0 in (reply.cut_after_events, reply.cut_after_bytes):
            self.log.note(self.call, usage=answer.usage, outcome="cut")
            return self.response.drop()
        self.log.note(self.call, status=200, usage=answer.usage)
        streamed = answer.request.stream and reply.body is None
        await (self._stream(reply, answer) if streamed else self._whole(reply, answer))
        if self.call.outcome == "pending":
            self.log.note(self.call, outcome="cut" if self.response.dropped else "answered")
        return None

    async def _whole(self, reply: Reply, answer: Answer) -> None:
        data = msgspec.json.encode(self.wire.whole(answer)) if reply.body is None else reply.body.encode()
        if reply.malformed:
            data = data[: len(data) // 2]
        kind = reply.content_type or "application/json"
        headers = [*self._ids(), *reply.headers.items()]
        await _send(self.response, 200, data, kind, headers, reply.cut_after_bytes)

    async def _stream(self, reply: Reply, answer: Answer) -> None:
        kind = reply.content_type or "text/event-stream; charset=utf-8"
        await self.response.start(200, [("content-type", kind), *self._ids(), *reply.headers.items()])
        sent = 0
        for number, event in enumerate(self._spoilt(self.wire.events(answer), reply)):
            if number == reply.cut_after_events:
                return self.response.drop()
            if number and reply.chunk_delay:
                await asyncio.sleep(reply.chunk_delay)
            left = len(event) if reply.cut_after_bytes is None else reply.cut_after_bytes - sent
            await self.response.write(event[:left])
            sent += len(event)
            if left < len(event):
                return self.response.drop()
        return await self.response.end()

    def _spoilt(self, events: Iterator[bytes], reply: Reply) -> Iterator[bytes]:
        """The events, with the one that the script puts among them."""
        for number, event in enumerate(events):
            if number == reply.error_after_events:
                status = reply.status if reply.status >= 400 else 500
                self.log.note(self.call, outcome="refused", error=reply.error or f"status {status} in the stream")
                yield self.wire.error_event(Refused(reply.error, status=status, code=reply.code))
                return
            if reply.malformed and number == SPOILT_EVENT:
                yield event.partition(b"data: ")[0] + HALF_OF_JSON
                return
            yield event

    def _ids(self) -> Headers:
        """The id of the request, under both providers' names for it."""
        return ("x-request-id", f"req_{self.call.number}"), ("request-id", f"req_{self.call.number}")


async def _send(
    response: Response, status: int, data: bytes, kind: str, headers: Headers, cut_after: int | None = None
) -> None:
    length = ("content-length", str(len(data)))
    await response.start(status, [("content-type", kind), length, *headers])
    await response.write(data[:cut_after])
    if cut_after is None or cut_after >= len(data):
        await response.end()
    else:
        response.drop()
