"""Batches of Anthropic's Messages: taken in with one request, asked for by their name, and read when all is answered.

platform.claude.com/docs/en/build-with-claude/batch-processing
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tenuto.testing.answer import answer_to
from tenuto.testing.anthropic_messages import ANTHROPIC_MESSAGES
from tenuto.testing.calls import Call, CallLog
from tenuto.testing.conversation import Request
from tenuto.testing.delivery import send_json
from tenuto.testing.gates import Gates
from tenuto.testing.http_server import HttpRequest, Response
from tenuto.testing.script import Reply, ScriptError
from tenuto.testing.wire import Refused

__all__ = ["BATCHES", "Batches"]

BATCHES = "/messages/batches"
"""Where they are."""

_LIFE = timedelta(days=1)


class _Entry(msgspec.Struct):
    custom_id: str
    params: dict[str, Any]


class _Asked(msgspec.Struct):
    requests: list[_Entry]


@dataclass
class _Batch:
    name: str
    ready: asyncio.Future[Any]
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))
    results: list[dict[str, Any]] = field(default_factory=list)

    def now(self) -> dict[str, Any]:
        """The batch as it is told of now."""
        over, all_of_it = self.ready.done(), len(self.results)
        succeeded = sum(each["result"]["type"] == "succeeded" for each in self.results) if over else 0
        counts = {"processing": 0 if over else all_of_it, "succeeded": succeeded, "canceled": 0, "expired": 0}
        return {
            "id": self.name,
            "type": "message_batch",
            "processing_status": "ended" if over else "in_progress",
            "request_counts": counts | {"errored": all_of_it - succeeded if over else 0},
            "created_at": self.begun.isoformat(),
            "expires_at": (self.begun + _LIFE).isoformat(),
            "ended_at": self.begun.isoformat() if over else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"/v1{BATCHES}/{self.name}/results" if over else None,
        }


class Batches:
    """Those of one endpoint. They end with it."""

    def __init__(self, log: CallLog, gates: Gates, reply_to: Callable[[Request], tuple[Request, Reply]]) -> None:
        self._log, self._gates, self._reply_to = log, gates, reply_to
        self._batches: dict[str, _Batch] = {}

    async def begin(self, http: HttpRequest, response: Response) -> None:
        """Takes a batch in: each of its requests is a call. It has ended when none of the replies waits any more."""
        try:
            asked = msgspec.json.decode(http.body, type=_Asked).requests
        except msgspec.DecodeError as error:
            return await send_json(response, 400, ANTHROPIC_MESSAGES.error(Refused(str(error))))
        name = f"msgbatch_{secrets.token_hex(8)}"
        answered = [self._answered(http, each.params) for each in asked]
        waits = asyncio.gather(*(self._gates.wait(reply) for _, reply in answered if reply is not None))
        waits.add_done_callback(lambda done: done.cancelled() or done.exception())  # the endpoint may close before
        named = zip(asked, answered, strict=True)
        results = [{"custom_id": each.custom_id, "result": result} for each, (result, _) in named]
        self._batches[name] = batch = _Batch(name, waits, results=results)
        await asyncio.sleep(0)  # what waits for nothing is over
        return await send_json(response, 200, batch.now())

    async def tell(self, response: Response, path: str) -> None:
        """Sends what there is at `path`: a batch, or its results."""
        name, _, what = path.partition("/")
        batch = self._batches.get(name)
        if batch is None or what not in ("", "results") or (what and not batch.ready.done()):
            refused = Refused(f"There is no {what or 'batch'} {name}.", status=404)
            return await send_json(response, 404, ANTHROPIC_MESSAGES.error(refused))
        if not what:
            return await send_json(response, 200, batch.now())
        lines = b"".join(msgspec.json.encode(each) + b"\n" for each in batch.results)
        await response.start(200, [("content-type", "application/x-jsonl"), ("content-length", str(len(lines)))])
        return await response.end(lines)

    def _answered(self, http: HttpRequest, params: dict[str, Any]) -> tuple[dict[str, Any], Reply | None]:
        """What comes of one request, and the reply that says so."""
        call = self._log.add(http.path, http.headers)
        try:
            asked = ANTHROPIC_MESSAGES.read(params)
            self._log.understood(call, asked)
            request, reply = self._reply_to(asked)
        except Refused as refused:
            return self._failed(call, refused), None
        except ScriptError as error:
            return self._failed(call, Refused(str(error))), None
        self._log.understood(call, request)
        self._log.understood(call, request)
        if reply.status >= 400:
            return self._failed(call, Refused(reply.error, status=reply.status, code=reply.code)), reply
        answer = answer_to(request, reply, f"{secrets.token_hex(3)}{call.number:06}")
        self._log.note(call, status=200, usage=answer.usage, outcome="answered")
        return {"type": "succeeded", "message": ANTHROPIC_MESSAGES.whole(answer)}, reply

    def _failed(self, call: Call, refused: Refused) -> dict[str, Any]:
        body = ANTHROPIC_MESSAGES.error(refused)
        self._log.note(call, status=refused.status, outcome="refused", error=body["error"]["message"])
        return {"type": "errored", "error": body}
