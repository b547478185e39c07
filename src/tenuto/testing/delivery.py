"""How an answer travels: late, whole, in events, cut off, spoilt or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import msgspec

from tenuto.testing.answer import Answer
from tenuto.testing.calls import Call
from tenuto.testing.http_server import Response
from tenuto.testing.script import Reply
from tenuto.testing.wire import Refused, WireFormat

__all__ = ["deliver", "refuse", "send_json"]

HALF_OF_JSON = b'{"id": "half", "object": "'


async def send_json(response: Response, status: int, body: object, *headers: tuple[str, str]) -> None:
    """Sends `body` as JSON."""
    data = msgspec.json.encode(body)
    await _send(response, status, data, "application/json", headers)


async def refuse(response: Response, call: Call, wire: WireFormat, refused: Refused, *headers: tuple[str, str]) -> None:
    """Sends the provider's error, and notes it with the call."""
    body = wire.error(refused)
    call.status, call.outcome, call.error = refused.status, "refused", body["error"]["message"]
    await send_json(response, refused.status, body, *_headers(call), *headers)


async def deliver(response: Response, call: Call, wire: WireFormat, reply: Reply, answer: Answer) -> None:
    """Sends what `reply` stands for, with all that is to go wrong on its way; waiting is done before."""
    if reply.status >= 400 and reply.error_after_events is None:
        after = () if reply.retry_after is None else (("retry-after", f"{reply.retry_after:g}"),)
        refused = Refused(reply.error, status=reply.status, code=reply.code)
        return await refuse(response, call, wire, refused, *after, *reply.headers.items())
    call.usage = answer.usage
    if 0 in (reply.cut_after_events, reply.cut_after_bytes):
        call.outcome = "cut"
        return response.drop()
    call.status = 200
    if answer.request.stream and reply.body is None:
        return await _stream(response, call, wire, reply, answer)
    return await _whole(response, call, wire, reply, answer)


async def _whole(response: Response, call: Call, wire: WireFormat, reply: Reply, answer: Answer) -> None:
    data = msgspec.json.encode(wire.whole(answer)) if reply.body is None else reply.body.encode()
    if reply.malformed:
        data = data[: len(data) // 2]
    headers = (*_headers(call), *reply.headers.items())
    call.outcome = "answered"
    await _send(response, 200, data, reply.content_type or "application/json", headers, reply.cut_after_bytes)
    if response.dropped:
        call.outcome = "cut"


async def _stream(response: Response, call: Call, wire: WireFormat, reply: Reply, answer: Answer) -> None:
    kind = reply.content_type or "text/event-stream; charset=utf-8"
    await response.start(200, [("content-type", kind), *_headers(call), *reply.headers.items()])
    sent = 0
    call.outcome = "answered"
    for number, event in enumerate(_spoilt(wire, wire.events(answer), reply, call)):
        if number == reply.cut_after_events:
            break
        if number and reply.chunk_delay:
            await asyncio.sleep(reply.chunk_delay)
        left = len(event) if reply.cut_after_bytes is None else reply.cut_after_bytes - sent
        await response.write(event[:left])
        sent += len(event)
        if left < len(event):
            break
    else:
        return await response.end()
    call.outcome = "cut"
    return response.drop()


def _spoilt(wire: WireFormat, events: Iterator[bytes], reply: Reply, call: Call) -> Iterator[bytes]:
    """The events, with the one that the script puts among them."""
    for number, event in enumerate(events):
        if number == reply.error_after_events:
            status = reply.status if reply.status >= 400 else 500
            call.outcome, call.error = "refused", reply.error or f"status {status} in the stream"
            yield wire.error_event(Refused(reply.error, status=status, code=reply.code))
            return
        if reply.malformed and number == 1:
            head, _, _ = event.rpartition(b"data: ")
            yield head + b"data: " + HALF_OF_JSON + b"\n\n"
            return
        yield event


async def _send(
    response: Response,
    status: int,
    data: bytes,
    kind: str,
    headers: tuple[tuple[str, str], ...],
    cut_after: int | None = None,
) -> None:
    length = ("content-length", str(len(data)))
    await response.start(status, [("content-type", kind), length, *headers])
    await response.write(data[:cut_after])
    if cut_after is None or cut_after >= len(data):
        await response.end()
    else:
        response.drop()


def _headers(call: Call) -> tuple[tuple[str, str], ...]:
    """The id of the request, under both providers' names for it."""
    return ("x-request-id", f"req_{call.number}"), ("request-id", f"req_{call.number}")
