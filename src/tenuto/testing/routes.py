"""What an endpoint answers at which path: models, their list, the count of tokens, and its own affairs."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec

from tenuto.errors import InvalidInput
from tenuto.testing.answer import answer_to, estimate
from tenuto.testing.anthropic_batches import BATCHES, Batches
from tenuto.testing.anthropic_messages import ANTHROPIC_MESSAGES
from tenuto.testing.background import Background
from tenuto.testing.calls import CallLog
from tenuto.testing.conversation import Request
from tenuto.testing.delivery import Delivery, send_json
from tenuto.testing.gates import Gates
from tenuto.testing.http_server import HttpRequest, Response
from tenuto.testing.openai_chat import OPENAI_CHAT
from tenuto.testing.openai_responses import KeptResponses
from tenuto.testing.script import Answers, Reply, Script, ScriptError, read_script
from tenuto.testing.wire import Refused, WireFormat

__all__ = ["Routes"]


class Routes:
    """Answers the requests of one endpoint, in its thread."""

    def __init__(self, script: Script, models: Sequence[str] = ()) -> None:
        """`models`: the only ones that are known; with none, every name is. Raises `InvalidInput` for no script."""
        self.log = CallLog()
        self.gates = Gates()
        self.closing = False
        self._answers = Answers(script)
        self._models = tuple(models)
        self._nonce = secrets.token_hex(3)
        self.kept = kept = KeptResponses()
        self._background = Background(kept)
        self._batches = Batches(self.log, self.gates, partial(self._reply_to, ANTHROPIC_MESSAGES))
        self._wires = {
            "/chat/completions": OPENAI_CHAT,
            "/responses": kept.wire,
            "/responses/compact": kept.compaction,
            "/messages": ANTHROPIC_MESSAGES,
        }
        self._counts = {"/responses/input_tokens": kept.wire, "/messages/count_tokens": ANTHROPIC_MESSAGES}

    def replace(self, script: Script) -> None:
        """From now on another script answers; attempts are counted anew. Raises `InvalidInput` for no script."""
        self._answers = Answers(script)

    async def answer(self, request: HttpRequest, response: Response) -> None:
        """Answers one request. Some base URLs end in `/v1`, and others do not."""
        parts = urlsplit(request.path)
        path = parts.path.removeprefix("/v1")
        if request.method == "POST" and path in self._wires:
            await self._model(self._wires[path], request, response)
        elif request.method == "POST" and path in self._counts:
            await self._count(self._counts[path], request, response)
        elif request.method == "POST" and path == BATCHES:
            await self._batches.begin(request, response)
        elif request.method == "GET" and path.startswith(f"{BATCHES}/"):
            await self._batches.tell(response, path.removeprefix(f"{BATCHES}/"))
        elif request.method == "GET" and path == "/models":
            await send_json(response, 200, self._listed())
        elif request.method == "GET" and path.startswith("/responses/"):
            await self._background.fetch(response, path.removeprefix("/responses/"), parse_qs(parts.query))
        elif request.method == "POST" and path.startswith("/responses/") and path.endswith("/cancel"):
            await self._background.cancel(response, path.removeprefix("/responses/").removesuffix("/cancel"))
        elif parts.path.startswith("/_"):
            await self._own(request, parts.path, parse_qs(parts.query), response)
        else:
            said = f"{request.method} {parts.path} is not served here"
            await send_json(response, 404, {"error": {"message": said, "type": "not_found_error"}})

    async def _model(self, wire: WireFormat, http: HttpRequest, response: Response) -> None:
        call = self.log.add(http.path, http.headers)
        try:
            await self._asked(http, Delivery(response, self.log, call, wire))
        except (asyncio.CancelledError, ConnectionError):
            if not response.ended:
                self.log.note(call, outcome="closed" if self.closing else "gone")
            raise

    async def _asked(self, http: HttpRequest, delivery: Delivery) -> None:
        call = delivery.call
        try:
            request, reply = self._reply_to(delivery.wire, self._understood(http, delivery))
        except Refused as refused:
            return await delivery.refuse(refused)
        except ScriptError as error:
            return await delivery.refuse(Refused(str(error), code="tenuto_script"))
        self.log.understood(call, request)
        answer = answer_to(request, reply, f"{self._nonce}{call.number:06}")
        if request.body.get("background") and not request.stream:
            return await self._background.begin(delivery, reply, answer, self.gates.wait(reply))
        await self.gates.wait(reply)
        return await delivery.deliver(reply, answer)

    def _reply_to(self, wire: WireFormat, request: Request) -> tuple[Request, Reply]:
        """What the present script says to `request`, of a model that there is."""
        if self._models and request.model not in self._models:
            raise Refused(_unknown(wire, request.model), status=404)
        return self._answers.reply_to(request)

    def _understood(self, http: HttpRequest, delivery: Delivery) -> Request:
        try:
            body: Any = msgspec.json.decode(http.body)
        except msgspec.DecodeError:
            body = None
        if not isinstance(body, dict):
            raise Refused("We could not parse the JSON body of your request.")
        request = delivery.wire.read(body)
        self.log.understood(delivery.call, request)
        return request

    async def _count(self, wire: WireFormat, http: HttpRequest, response: Response) -> None:
        body: dict[str, Any] = {"max_tokens": 1, **msgspec.json.decode(http.body, type=dict[str, Any])}
        try:
            request = wire.read(body)
        except Refused as refused:
            return await send_json(response, refused.status, wire.error(refused))
        counted = {"object": "response.input_tokens", "input_tokens": estimate(request)}
        return await send_json(response, 200, counted)

    def _listed(self) -> dict[str, Any]:
        """The list of models, in a form that suits both providers."""
        names = self._models or ("scripted",)
        models = [
            {
                "id": name,
                "object": "model",
                "type": "model",
                "created": 1_750_000_000,
                "created_at": "2025-06-15T00:00:00Z",
                "owned_by": "tenuto",
                "display_name": name,
            }
            for name in names
        ]
        return {"object": "list", "data": models, "has_more": False, "first_id": names[0], "last_id": names[-1]}

    async def _own(self, http: HttpRequest, path: str, query: dict[str, list[str]], response: Response) -> None:
        if (http.method, path) == ("GET", "/_calls"):
            return await send_json(response, 200, self.log.all())
        if (http.method, path) == ("POST", "/_release"):
            self.gates.open(query.get("name", [""])[0])
            return await send_json(response, 200, {})
        if (http.method, path) == ("POST", "/_forget"):
            self.kept.forget()
            return await send_json(response, 200, {})
        if (http.method, path) == ("POST", "/_script"):
            try:
                self.replace(read_script(http.body))
            except InvalidInput as error:
                return await send_json(response, 400, {"error": {"message": str(error)}})
            return await send_json(response, 200, {})
        said = "served here: GET /_calls, POST /_script, POST /_release?name=NAME, POST /_forget"
        return await send_json(response, 404, {"error": {"message": said}})


def _unknown(wire: WireFormat, model: str) -> str:
    if wire is ANTHROPIC_MESSAGES:
        return f"model: {model}"
    return f"The model `{model}` does not exist or you do not have access to it."
