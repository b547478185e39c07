"""Responses that are made in the background, and fetched, followed or cancelled by their id.

platform.openai.com/docs/guides/background
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from tenuto.testing.answer import Answer
from tenuto.testing.delivery import Delivery, send_json
from tenuto.testing.http_server import Response
from tenuto.testing.openai_errors import openai_error
from tenuto.testing.openai_responses import KeptResponses
from tenuto.testing.openai_responses_output import response_events, response_object, whole_response
from tenuto.testing.script import Reply
from tenuto.testing.wire import Refused

__all__ = ["Background"]


class Background:
    """The jobs of one endpoint. They end with it."""

    def __init__(self, kept: KeptResponses) -> None:
        self._kept = kept
        self._jobs: dict[str, asyncio.Future[None]] = {}
        self._failed: dict[str, dict[str, Any]] = {}

    async def begin(self, delivery: Delivery, reply: Reply, answer: Answer, ready: Awaitable[None]) -> None:
        """Answers at once that `answer` is queued; it is there when `ready` is."""
        self._kept.wire.whole(answer)
        name = response_object(answer, "queued")["id"]
        self._jobs[name] = asyncio.ensure_future(ready)
        if reply.status >= 400:
            self._failed[name] = openai_error(Refused(reply.error, status=reply.status, code=reply.code))["error"]
        delivery.log.note(delivery.call, status=200, outcome="answered", usage=answer.usage)
        await send_json(delivery.response, 200, response_object(answer, "queued"))

    async def fetch(self, response: Response, name: str, query: dict[str, list[str]]) -> None:
        """Sends the response `name` as it is now, or its events after a number."""
        answer = self._kept.answers.get(name)
        if answer is None:
            return await self._unknown(response, name)
        if query.get("stream", ["false"])[0] != "true":
            return await send_json(response, 200, self._now(name, answer))
        await self._finished(name)
        after = int(query.get("starting_after", ["-1"])[0])
        await response.start(200, [("content-type", "text/event-stream; charset=utf-8")])
        for event in list(response_events(answer))[after + 1 :]:
            await response.write(event)
        return await response.end()

    async def cancel(self, response: Response, name: str) -> None:
        """Ends the job `name`, if it is not over, and sends what became of it."""
        answer = self._kept.answers.get(name)
        if answer is None:
            return await self._unknown(response, name)
        if not answer.request.body.get("background"):
            refused = Refused("Only responses created with background=true can be cancelled.")
            return await send_json(response, 400, openai_error(refused))
        if name in self._jobs:
            self._jobs[name].cancel()
            await self._finished(name)
        return await send_json(response, 200, self._now(name, answer))

    async def _finished(self, name: str) -> None:
        if name in self._jobs:
            await asyncio.wait([self._jobs[name]])

    def _now(self, name: str, answer: Answer) -> dict[str, Any]:
        job = self._jobs.get(name)
        if job is not None and not job.done():
            return response_object(answer, "in_progress")
        if job is not None and job.cancelled():
            return response_object(answer, "cancelled")
        if name in self._failed:
            error = {word: self._failed[name][word] for word in ("code", "message")}
            return response_object(answer, "failed") | {"error": error}
        return whole_response(answer)

    async def _unknown(self, response: Response, name: str) -> None:
        refused = Refused(f"Response with id '{name}' not found.", status=404)
        await send_json(response, 404, openai_error(refused))
