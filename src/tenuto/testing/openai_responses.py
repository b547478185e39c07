"""OpenAI's Responses: reading requests, and what the provider keeps of earlier ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tenuto.testing.answer import Answer
from tenuto.testing.compaction import Compacted, opened
from tenuto.testing.conversation import Message, Request, ToolCall, ToolResult
from tenuto.testing.openai_errors import openai_error
from tenuto.testing.openai_responses_output import compaction_object, error_event, response_events, whole_response
from tenuto.testing.wire import Refused, WireFormat, field, text_of

__all__ = ["KeptResponses"]


class KeptResponses:
    """The responses of one endpoint, kept as the provider does unless `store` is false.

    A later request may continue one by its id, name its items, and fetch it. `wire` is served at
    `POST /v1/responses`, `compaction` at `POST /v1/responses/compact`.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self._items: dict[str, dict[str, Any]] = {}
        self._thoughts: dict[str, str] = {}
        self.wire = WireFormat("openai-responses", self._read, self._whole, self._events, openai_error, error_event)
        self.compaction = replace(self.wire, read=partial(self._read, compacts=True), whole=compaction_object)

    def forget(self) -> None:
        """Keeps nothing any more of what was said so far."""
        for kept in (self.answers, self._items, self._thoughts):
            kept.clear()

    def _read(self, body: dict[str, Any], *, compacts: bool = False) -> Request:
        model, given = field(body, "model", str), body.get("input")
        if isinstance(given, str):
            given = [{"role": "user", "content": given}]
        if not isinstance(given, list):
            raise Refused("Missing required parameter: 'input'.", code="missing_required_parameter", param="input")
        items = self._before(body.get("previous_response_id")) + [self._resolved(item) for item in given]
        compacted, items = _since_compaction(items)
        self._check(items, compacted.calls if compacted else (), compacts=compacts)
        spoken = [compacted.message] if compacted else []
        spoken += [_message(item, f"input[{place}]") for place, item in enumerate(items)]
        system = [one.text for one in spoken if one.role == "system"]
        tools = [tool for tool in body.get("tools") or () if "name" in tool]
        form = (body.get("text") or {}).get("format") or {}
        return Request(
            format="openai-responses",
            model=model,
            system="\n".join([body.get("instructions") or "", *system]).strip(),
            messages=tuple(_joined([one for one in spoken if one.role != "system"])),
            tools=tuple(tool["name"] for tool in tools),
            schemas={tool["name"]: tool.get("parameters") for tool in tools},
            stream=bool(body.get("stream")),
            max_tokens=body.get("max_output_tokens"),
            wants_json=form.get("type") in ("json_schema", "json_object"),
            output_schema=form.get("schema"),
            body=body,
            compacts=compacts,
            compacted=compacted.answers if compacted else 0,
        )

    def _before(self, previous: str | None) -> list[dict[str, Any]]:
        """All that was said up to the end of the response `previous`."""
        if previous is None:
            return []
        answer = self.answers.get(previous)
        if answer is None:
            raise Refused(
                f"Previous response with id '{previous}' not found.",
                code="previous_response_not_found",
                param="previous_response_id",
            )
        body = answer.request.body
        said = body["input"] if isinstance(body["input"], list) else [{"role": "user", "content": body["input"]}]
        return [*self._before(body.get("previous_response_id")), *said, *whole_response(answer)["output"]]

    def _resolved(self, item: Any) -> dict[str, Any]:
        if not isinstance(item, dict):
            raise Refused("Invalid type for 'input': expected an array of objects.", code="invalid_type", param="input")
        if item.get("type") != "item_reference":
            return item
        if item.get("id") not in self._items:
            raise Refused(f"Item with id '{item.get('id')}' not found.", status=404, param="input")
        return self._items[item["id"]]

    def _check(self, items: list[dict[str, Any]], compacted: Sequence[str], *, compacts: bool) -> None:
        """Calls have their outputs and outputs their calls, thoughts what followed them, and ids are not repeated. What
        is compacted may end with calls; `compacted` are those, and may have outputs."""
        ids = _ids(items)
        open_calls = dict.fromkeys(compacted)
        for place, item in enumerate(items):
            if item.get("type") == "function_call":
                open_calls[field(item, "call_id", str, f"input[{place}]")] = None
            elif item.get("type") == "function_call_output":
                call = field(item, "call_id", str, f"input[{place}]")
                if call not in open_calls:
                    raise Refused(f"No tool call found for function call output with call_id {call}.", param="input")
                del open_calls[call]
            elif item.get("type") == "reasoning" and not _is_assistants(items[place + 1 : place + 2]):
                said = f"Item '{item.get('id')}' of type 'reasoning' was provided without its required following item."
                raise Refused(said, param="input")
            thought = self._thoughts.get(item.get("id") or "")
            if thought is not None and thought not in ids:
                said = f"Item '{item['id']}' of type '{item['type']}' was provided without its required"
                raise Refused(f"{said} 'reasoning' item: '{thought}'.", param="input")
        for call in () if compacts else open_calls.keys() - set(compacted):
            raise Refused(f"No tool output found for function call {call}.", param="input")

    def _keep(self, answer: Answer) -> None:
        if answer.request.body.get("store", True) is False:
            return
        whole = whole_response(answer)
        self.answers[whole["id"]] = answer
        thoughts = [item["id"] for item in whole["output"] if item["type"] == "reasoning"]
        for item in whole["output"]:
            self._items[item["id"]] = item
            if thoughts and item["type"] != "reasoning":
                self._thoughts[item["id"]] = thoughts[0]

    def _whole(self, answer: Answer) -> dict[str, Any]:
        self._keep(answer)
        return whole_response(answer)

    def _events(self, answer: Answer) -> Iterator[bytes]:
        self._keep(answer)
        yield from response_events(answer)


def _since_compaction(items: list[dict[str, Any]]) -> tuple[Compacted | None, list[dict[str, Any]]]:
    """The last summary among `items`, and what counts beside it: instructions, and what came after it."""
    place = max((place for place, item in enumerate(items) if item.get("type") == "compaction"), default=None)
    if place is None:
        return None, items
    standing = [item for item in items[:place] if item.get("role") in ("system", "developer")]
    return opened(items[place].get("encrypted_content")), [*standing, *items[place + 1 :]]


def _ids(items: list[dict[str, Any]]) -> set[str]:
    ids: set[str] = set()
    for one in (item["id"] for item in items if item.get("id")):
        if one in ids:
            said = f"Duplicate item found with id {one}. Remove duplicate items from your input and try again."
            raise Refused(said, param="input")
        ids.add(one)
    return ids


def _is_assistants(items: list[dict[str, Any]]) -> bool:
    return any(item.get("role") == "assistant" or item.get("type") in ("function_call", "reasoning") for item in items)


def _message(item: dict[str, Any], where: str) -> Message:
    kind = item.get("type", "message")
    if kind == "function_call":
        name, arguments = field(item, "name", str, where), field(item, "arguments", str, where)
        return Message("assistant", calls=(ToolCall(name, arguments, item["call_id"]),))
    if kind == "function_call_output":
        return Message("tool", results=(ToolResult(item["call_id"], text_of(item.get("output"))),))
    if kind != "message":
        return Message("assistant", text_of(item.get("summary")))
    role = field(item, "role", str, where)
    if role not in ("user", "assistant", "system", "developer"):
        said = "Supported values are: 'assistant', 'system', 'developer', and 'user'."
        raise Refused(f"Invalid value: '{role}'. {said}", code="invalid_value", param=f"{where}.role")
    return Message("system" if role == "developer" else role, text_of(item.get("content")))


def _joined(messages: list[Message]) -> Iterator[Message]:
    """The items of one answer as one message of the assistant; outputs of its calls as one of tools."""
    held: Message | None = None
    for one in messages:
        if held is not None and held.role == one.role != "user":
            text = "\n".join(part for part in (held.text, one.text) if part)
            held = Message(one.role, text, held.calls + one.calls, held.results + one.results)
            continue
        if held is not None:
            yield held
        held = one
    if held is not None:
        yield held
