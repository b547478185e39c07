"""Models by name: whose they are, which is what rates are counted by."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tenuto.agents.llm.models import XAI_URL, build_model, check_model
from tenuto.errors import InvalidInput


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("openai:gpt-5-mini", "openai"),
        ("openai-chat:gpt-5-mini", "openai"),
        ("anthropic:claude-haiku-4-5", "anthropic"),
        ("xai:grok-4", "xai"),
    ],
)
def test_a_model_is_known_by_its_provider(name: str, provider: str) -> None:
    # Given the name of a model
    # When it is built
    model = build_model(name, keys={"openai": "sk-test", "anthropic": "sk-test", "xai": "sk-test"})
    # Then it says whose it is, and so does the limit that counts its requests
    assert model.system == provider


def test_a_model_of_xai_is_asked_at_its_address_unless_another_is_given() -> None:
    # Given xAI's key alone
    keys = {"xai": "sk-test"}
    # When a model is built with and without an address
    models = [build_model("xai:grok-4", base_url=url, keys=keys) for url in (None, "http://127.0.0.1:1/v1")]
    # Then each goes to its own
    assert [str(model.base_url).rstrip("/") for model in models] == [XAI_URL, "http://127.0.0.1:1/v1"]


@pytest.mark.parametrize("name", ["openai:gpt-5-mini", "openai-chat:gpt-5-mini", "anthropic:claude-haiku-4-5"])
@pytest.mark.parametrize(
    "url", ["ftp://x", "x.example.org/v1", "http://", "http://[::1", "http://x:99999", "http://x:port", "https:x"]
)
def test_an_address_that_can_be_none_is_refused_ahead(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given an address that makes no sense, as an argument or in the environment
    keys = {"openai": "sk-test", "anthropic": "sk-test"}
    for check in (check_model, build_model):
        # When it is looked at
        # Then it is refused, and named
        with pytest.raises(InvalidInput, match="base_url is"):
            check(name, base_url=url, keys=keys)
        with monkeypatch.context() as patch:
            variable = f"{'ANTHROPIC' if name.startswith('a') else 'OPENAI'}_BASE_URL"
            patch.setenv(variable, url)
            with pytest.raises(InvalidInput, match=f"{variable} is"):
                check(name, keys=keys)


def test_a_password_in_an_address_is_not_shown() -> None:
    with pytest.raises(InvalidInput) as refused:
        build_model("openai:gpt-5-mini", base_url="http://ann:secret@x:99999", keys={"openai": "sk-test"})
    assert "secret" not in str(refused.value)
    assert "x:99999" in str(refused.value)


@pytest.mark.parametrize("key", ["secret-0123\n", "secret 0123", "secret-…", "\tsecret-0123"])
def test_a_key_that_can_be_none_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Given a key that was read with the end of its line, for example
    for check in (check_model, build_model):
        with pytest.raises(InvalidInput, match="OPENAI_API_KEY") as refused:
            check("openai:gpt-5-mini", keys={"openai": key})
        assert "secret" not in str(refused.value)
        with monkeypatch.context() as patch:
            patch.setenv("ANTHROPIC_API_KEY", key)
            with pytest.raises(InvalidInput, match="ANTHROPIC_API_KEY"):
                check("anthropic:claude-haiku-4-5")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "authorities.pem"
    if content is not None:
        place.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(place))
    with pytest.raises(InvalidInput, match=re.escape(str(place))):
        build_model("openai:gpt-5-mini", keys={"openai": "sk-test"})


def test_a_proxy_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "nonsense://ann:secret@x")
    with pytest.raises(InvalidInput, match="proxy") as refused:
        build_model("openai:gpt-5-mini", keys={"openai": "sk-test"})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("opnai:gpt-5", "is of a provider that nobody knows, 'opnai': did you mean 'openai:gpt-5'?"),
        ("Anthropic:claude-haiku-4-5", "did you mean 'anthropic:claude-haiku-4-5'?"),
        ("clii:claude", "did you mean 'cli:claude'?"),
        ("mistal:large", "did you mean 'mistral:large'?"),
        ("nobody:gpt-5", "is of a provider that nobody knows, 'nobody' ("),
        ("gpt-5", "is named without its provider: did you mean 'openai:gpt-5'?"),
        ("claude-haiku-4-5", "did you mean 'anthropic:claude-haiku-4-5'?"),
        ("gemini-2.5-pro", "did you mean 'google:gemini-2.5-pro'?"),
        ("deepseek-chat", "did you mean 'deepseek:deepseek-chat'?"),
        ("openai/gpt-5", "did you mean 'openai:gpt-5'?"),
        ("llama3", "is named without its provider: write provider:model ("),
        ("", "is named without its provider: "),
        ("openai:", "is a provider without a model: write openai:model"),
    ],
)
def test_a_name_that_nobody_knows_is_refused_with_a_suggestion(name: str, said: str) -> None:
    # Given a name with a mistake in it
    for check in (check_model, build_model):
        # When it is looked at
        with pytest.raises(InvalidInput) as refused:
            check(name, keys={"openai": "sk-test"})
        # Then one sentence says what is wrong, what was meant, perhaps, and where names are found
        assert str(refused.value).startswith(f"the model {name!r} ")
        assert said in str(refused.value)
        assert "pydantic_ai.models.known_model_names() lists the usual names" in str(refused.value)


def test_a_server_of_ones_own_is_no_provider() -> None:
    with pytest.raises(InvalidInput, match="is 'openai-chat:llama3' with base_url"):
        build_model("gateway:llama3", base_url="http://127.0.0.1:1/v1")
