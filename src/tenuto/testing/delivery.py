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
    data = msgspec.json.encode(body)
    length = ("content-length", str(len(data)))
    await response.start(status, [("content-type", "application/json"), length, *headers])
    await response.end(data)


class Delivery:
    """The answer to one call, on its way. What becomes of it is noted before the client can know it."""

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
        return await (self._stream(reply, answer) if streamed else self._whole(reply, answer))

    async def _whole(self, reply: Reply, answer: Answer) -> None:
        data = msgspec.json.encode(self.wire.whole(answer)) if reply.body is None else reply.body.encode()
        if reply.malformed:
            data = data[: len(data) // 2]
        kind = reply.content_type or "application/json"
        headers = [("content-length", str(len(data))), *self._ids(), *reply.headers.items()]
        await self.response.start(200, [("content-type", kind), *headers])
        if reply.cut_after_bytes is not None and reply.cut_after_bytes < len(data):
            return await self._cut(data[: reply.cut_after_bytes])
        return await self._end(data)

    async def _stream(self, reply: Reply, answer: Answer) -> None:
        kind = reply.content_type or "text/event-stream; charset=utf-8"
        await self.response.start(200, [("content-type", kind), *self._ids(), *reply.headers.items()])
        sent = 0
        *events, last = self._spoilt(self.wire.events(answer), reply)
        for number, event in enumerate((*events, last)):
            if number == reply.cut_after_events:
                return await self._cut()
            if number and reply.chunk_delay:
                await asyncio.sleep(reply.chunk_delay)
            left = len(event) if reply.cut_after_bytes is None else reply.cut_after_bytes - sent
            if left < len(event):
                return await self._cut(event[:left])
            if number < len(events):
                await self.response.write(event)
            sent += len(event)
        return await self._end(last)

    async def _cut(self, data: bytes = b"") -> None:
        self.log.note(self.call, outcome="cut")
        await self.response.write(data)
        self.response.drop()

    async def _end(self, data: bytes) -> None:
        if self.call.outcome == "pending":
            self.log.note(self.call, outcome="answered")
        await self.response.end(data)

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
