"""What a scripted model answers: replies, the turns they belong to, and the rules that choose between scripts.

A script is one of these:

- a list of turns. The answer is chosen by the number of the assistant's messages in the request, so a conversation
  that is resumed by another process gets the answer that belongs to its place, however often it was asked before;
- a list of `Rule`, each with turns of its own: the first that fits the conversation answers;
- a function from `Request` to `Reply`, which must not block.

A turn is a `Reply`, a text, or a list of these: one for each time that this very request is made, the last for all
further ones. `[Reply(status=429), "fine"]` is a turn that is refused once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from tenuto.errors import InvalidInput, TenutoError
from tenuto.testing.conversation import Request, ToolCall

__all__ = ["Answers", "Reply", "Rule", "Script", "ScriptError", "Usage", "read_script", "rules_of"]


class ScriptError(TenutoError):
    """The script has no answer to a request: its turns are over, no rule fits, or its function failed."""


class Usage(Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens as a provider counts them. `input` includes `cached` and `cache_write`, `output` includes `reasoning`."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0


class Reply(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One answer, and all that goes wrong on its way.

    What is said:

    - `text`, `thinking` and `tools`: the parts of the answer, any of them together
    - `output`: a value for the output type of the agent, as a call of its output tool or as JSON text, whichever the
      request asks for; a list or a number as it is, without the object that Pydantic AI wraps around it
    - `compaction`: a summary that the provider puts in place of all that was said before, ahead of the answer
    - `stop`: why the answer ends, where that is not plain from its parts: `length`, `filter` or `pause`
    - `usage`: None for an estimate of one token per four bytes. It may exceed what the request allows

    When it comes (times in seconds):

    - `delay`: before anything is sent; `chunk_delay`: before each event of a stream but the first
    - `hold`: nothing is sent before `release` is called with this name
    - `silent`: nothing is ever sent

    What comes instead:

    - `status`: an error of 400 or above, in the provider's own form. 400 is a conversation too long for the model,
      401 a key that is not valid, 404 a model nobody knows, 429 a rate limit, 529 an overload. `error` is another
      message and `code` another code (OpenAI) or type (Anthropic) for it; `retry_after` goes into its header
    - `error_after_events`: a stream that begins well, and after that many events says that it failed, with `status`
      (500 where none is given)
    - `cut_after_events`, `cut_after_bytes`: the connection is dropped after so many events, or bytes of the body. An
      answer that is not streamed is one event. With 0 not even the headers are sent
    - `malformed`: JSON that ends half way, as body or as third event
    - `body`, `content_type`, `headers`: sent as they are
    """

    text: str = ""
    thinking: str = ""
    tools: list[ToolCall] = []
    output: Any | UnsetType = UNSET
    compaction: str = ""
    stop: Literal["", "length", "filter", "pause"] = ""
    usage: Usage | None = None
    delay: float = 0.0
    chunk_delay: float = 0.0
    hold: str = ""
    silent: bool = False
    status: int = 200
    error: str = ""
    code: str = ""
    retry_after: float | None = None
    error_after_events: int | None = None
    cut_after_events: int | None = None
    cut_after_bytes: int | None = None
    malformed: bool = False
    body: str | None = None
    content_type: str = ""
    headers: dict[str, str] = {}


Turn: TypeAlias = Reply | str | list[Reply | str]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Turns for the conversations that it fits. Every condition that is given must hold; none at all fits everything.

    `contains` is looked for in all that was said, `system` in the instructions, `first` in the user's first message,
    `last` in the last message; `model` is the model's name, `tool` the name of a tool on offer. With `repeat` the last
    turn answers all further ones.
    """

    turns: list[Turn]
    contains: str = ""
    system: str = ""
    first: str = ""
    last: str = ""
    model: str = ""
    tool: str = ""
    repeat: bool = False

    def fits(self, request: Request) -> bool:
        """Whether this rule is for the conversation of `request`."""
        return (
            self.model in ("", request.model)
            and (not self.tool or self.tool in request.tools)
            and self.system in request.system
            and self.first in request.first
            and self.last in request.last
            and (not self.contains or self.contains in request.text)
        )

    def reply_to(self, request: Request) -> Reply:
        """The reply of the turn that `request` has reached. Raises `ScriptError` where there is none."""
        turn = min(request.turn, len(self.turns)) if self.repeat else request.turn
        if not 0 < turn <= len(self.turns):
            raise ScriptError(f"the script has {len(self.turns)} turns, and turn {request.turn} was asked for")
        chosen = self.turns[turn - 1]
        if isinstance(chosen, list):
            if not chosen:
                raise ScriptError(f"turn {turn} of the script is an empty list")
            chosen = chosen[min(request.attempt, len(chosen)) - 1]
        return Reply(text=chosen) if isinstance(chosen, str) else chosen


Script: TypeAlias = Sequence[Turn | Rule] | Callable[[Request], Reply | str]
"""Turns, rules, or a function: see above."""


class Answers:
    """A script at work: it counts how often each request was made."""

    def __init__(self, script: Script) -> None:
        """Raises `InvalidInput` for what is no script."""
        self._function = script if callable(script) else None
        self._rules = [] if callable(script) else rules_of(script)
        self._attempts: Counter[str] = Counter()

    def reply_to(self, request: Request) -> tuple[Request, Reply]:
        """The request with its attempt counted, and the answer. Raises `ScriptError` where there is none."""
        self._attempts[request.identity] += 1
        request = msgspec.structs.replace(request, attempt=self._attempts[request.identity])
        if self._function is not None:
            return request, _called(self._function, request)
        if request.compacts:
            return request, Reply(text=f"[a summary of {request.turn - 1} turns]")
        rule = next((rule for rule in self._rules if rule.fits(request)), None)
        if rule is None:
            raise ScriptError(f"no rule of the script fits a conversation that begins with {request.first[:80]!r}")
        return request, rule.reply_to(request)


def read_script(text: str | bytes) -> list[Rule]:
    """A script from JSON: a list of turns, an object with `turns`, or one with `rules`, a list of such objects.

    Raises `InvalidInput`, which says what is wrong and where.
    """
    try:
        found = msgspec.json.decode(text)
        if isinstance(found, list):
            found = {"turns": found}
        rules = found["rules"] if isinstance(found, dict) and "rules" in found else [found]
        return msgspec.convert(rules, list[Rule])
    except msgspec.DecodeError as error:
        raise InvalidInput(f"the script is not valid: {error}") from None


def rules_of(script: Sequence[Turn | Rule]) -> list[Rule]:
    """The rules that `script` stands for. Raises `InvalidInput` for what is none."""
    if isinstance(script, str) or not isinstance(script, Sequence):
        raise InvalidInput(f"a script is a list of turns or rules, or a function, not {type(script).__name__}")
    rules = [one for one in script if isinstance(one, Rule)]
    if not rules:
        return [Rule(turns=[one for one in script if not isinstance(one, Rule)])]
    if len(rules) < len(script):
        raise InvalidInput("a script holds rules or turns, not both: give the turns to a rule without conditions")
    return rules


def _called(function: Callable[[Request], Reply | str], request: Request) -> Reply:
    try:
        reply = function(request)
    except Exception as error:
        raise ScriptError(f"the script's function failed: {type(error).__name__}: {error}") from error
    if not isinstance(reply, Reply | str):
        raise ScriptError(f"the script's function returned {type(reply).__name__}, not a Reply")
    return Reply(text=reply) if isinstance(reply, str) else reply
