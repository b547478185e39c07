"""Who may command what, where, and what stays hidden."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from tenuto.errors import InvalidInput
from tenuto.supervisor.access import PRESETS, allowed_of, masked, same_token, token_for
from tenuto.supervisor.addresses import Address

KNOWN = ("ps", "status", "stop", "history-stats")
TOKEN = "a-token-that-nobody-guesses"


@dataclass
class Settings:
    host: str
    db_password: str


def test_whitelists_are_everything_a_preset_or_names() -> None:
    assert allowed_of(None, KNOWN) is allowed_of("all", KNOWN) is None
    assert allowed_of("basic", KNOWN) == frozenset({"ps", "status"})
    assert allowed_of({"ps", "HISTORY_STATS"}, KNOWN) == frozenset({"ps", "history-stats"})
    assert allowed_of([], KNOWN) == frozenset()
    assert "stop" not in (PRESETS["monitoring"] or ())


@pytest.mark.parametrize(("allowed", "said"), [("monitorng", "no preset"), (["stp"], "did you mean 'stop'")])
def test_a_whitelist_with_a_typing_error_is_refused(allowed: str | list[str], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        allowed_of(allowed, KNOWN)


@pytest.mark.parametrize(
    ("text", "private"),
    [
        ("ipc://run/x.sock", True),
        ("run/x.sock", True),
        ("tcp://127.0.0.1:5570", True),
        ("tcp://[::1]:5570", True),
        ("tcp://localhost:*", True),
        ("tcp://0.0.0.0:5570", False),
        ("tcp://*:5570", False),
        ("tcp://192.168.1.5:5570", False),
        ("tcp://db.example.com:5570", False),
    ],
)
def test_it_is_known_which_addresses_others_can_reach(text: str, private: bool) -> None:
    assert Address.parse(text).private is private


@pytest.mark.parametrize(
    "text", ["tcp://127.0.0.1", "tcp://:5570", "tcp://h:70000", "udp://h:1", "ipc://", "ipc://@x", "", "tcp://h:x"]
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        Address.parse(text)


def test_a_path_is_made_absolute() -> None:
    assert Address.parse("ipc://x.sock").path == Path.cwd() / "x.sock"


def test_only_addresses_that_others_reach_need_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TENUTO_COMMAND_TOKEN", raising=False)
    outside = Address.parse("tcp://0.0.0.0:5570")
    assert token_for(Address.parse("ipc://x"), TOKEN) is None
    assert token_for(Address.parse("tcp://127.0.0.1:1"), None) is None
    assert token_for(Address.parse("tcp://127.0.0.1:1"), TOKEN) == token_for(outside, TOKEN) == TOKEN
    with pytest.raises(InvalidInput, match="can be reached by others: give command_token"):
        token_for(outside, None)
    with pytest.raises(InvalidInput, match="at least 16 characters") as refused:
        token_for(outside, "hunter2")
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("TENUTO_COMMAND_TOKEN", TOKEN)
    assert token_for(outside, None) == TOKEN


def test_tokens_are_compared_whole() -> None:
    assert same_token(TOKEN, TOKEN)
    for wrong in (None, "", TOKEN[:-1], TOKEN + "x", "\ud800"):
        assert not same_token(wrong, TOKEN)


def test_what_looks_like_a_secret_is_hidden_and_nothing_else() -> None:
    assert masked(
        {
            "password": "x",
            "openai_api_key": "sk-1",
            "auth": {"client_secret": "s", "user": "u"},
            "tokens": 12,
            "max_tokens": 100,
            "token": None,
            "items": [{"access_key": b"k"}, "https://user:pw@host/x"],
            "key": "name",
            "settings": Settings("h", "p"),
        }
    ) == {
        "password": "***",
        "openai_api_key": "***",
        "auth": {"client_secret": "***", "user": "u"},
        "tokens": 12,
        "max_tokens": 100,
        "token": None,
        "items": [{"access_key": "***"}, "https://user:***@host/x"],
        "key": "name",
        "settings": {"host": "h", "db_password": "***"},
    }


class Client:
    def __repr__(self) -> str:
        return "Client(password='hot')"


def test_of_objects_that_may_hold_anything_only_the_type_is_told() -> None:
    settings = {
        "environment": {"DB_PASSWORD": "hot", "LANG": "C"},
        "client": Client(),
        "clients": [Client()],
        "make": Client,
        "folder": Path("/srv"),
        "every": timedelta(minutes=2),
    }
    assert masked(settings) == {
        "environment": {"DB_PASSWORD": "***", "LANG": "C"},
        "client": "<Client>",
        "clients": ["<Client>"],
        "make": "<Client>",
        "folder": "/srv",
        "every": "0:02:00",
    }


def test_masking_comes_to_an_end() -> None:
    endless: dict[str, object] = {}
    endless["again"] = endless
    assert "…" in str(masked(endless))
