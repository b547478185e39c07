"""Providers that are not there, are somebody else, or talk nonsense: one sentence each, told apart, without a key."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime

import msgspec
import pytest
import trustme
from pydantic_ai.models.function import FunctionModel

from tenuto.agents.llm.agent import Agent
from tenuto.agents.llm.models import build_model
from tenuto.stores.base import Store
from tenuto.stores.memory import MemoryStore
from tenuto.tasks.retry import RetryPolicy
from tenuto.tasks.states import State
from tenuto.tasks.task import Task
from tenuto.testing import Endpoint, Reply
from tests.integration.llm.rig import ask
from tests.integration.workers.rig import ended, working
from tests.servers.ports import free_port
from tests.servers.raw_http import RawHttp, answer

KEY = "plain-secret-0123456789"
"""as gateways of one's own give them: no prefix tells that it is one"""
MODELS = {"openai-chat": "openai", "openai-responses": "openai", "anthropic": "anthropic"}


async def attempted(url: str, provider: str = "openai-chat", *, stream: bool = False) -> tuple[Task, list[int]]:
    """A task for an agent whose provider is at `url`, when it has failed, and what its requests count as."""
    store = MemoryStore()
    await store.open()
    base = url + ("" if provider == "anthropic" else "/v1")
    name = "claude-haiku-4-5" if provider == "anthropic" else "gpt-5-mini"
    model = build_model(f"{provider}:{name}", base_url=base, keys={MODELS[provider]: KEY})
    agent = Agent("clerk", None, model, retry=RetryPolicy(max_retries=1, base=1), stream=stream)
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.state is State.FAILED
    assert task.error is not None
    assert task.error.type == "ModelError"
    rows = (task, (await store.events(task_id=task.id)).events, await store.journal(task.id))
    assert KEY.encode() not in msgspec.json.encode(rows)
    counted = [entry.counted.money for entry in await store.ledger(task.id)]
    await store.close()
    return task, counted


def certificate(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object, not_after: datetime | None = None
) -> ssl.SSLContext:
    """A server's certificate, signed by somebody whom this program trusts."""
    authority = trustme.CA()
    place = f"{tmp_path}/authority.pem"
    authority.cert_pem.write_to_path(place)
    monkeypatch.setenv("SSL_CERT_FILE", place)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name, not_after=not_after).configure_cert(context)
    return context


@pytest.mark.parametrize("provider", MODELS)
async def test_a_certificate_that_is_not_good_ends_the_task_at_once(
    provider: str, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    strangers = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(strangers)
    for name, until, said in (
        ("", None, "unable to get local issuer certificate"),
        ("other.example.org", None, "IP address mismatch"),
        ("127.0.0.1", datetime(2020, 1, 1, tzinfo=UTC), "certificate has expired"),
    ):
        # Given a provider whose certificate is signed by nobody whom we know, is another's, or has expired
        context = certificate(name, monkeypatch, tmp_path, until) if name else strangers
        with RawHttp(answer(200), context) as server:
            # When an agent asks it
            task, counted = await attempted(server.url, provider)
            # Then its task fails, once; it says where and why, and nobody was paid, or told anything
            assert task.error is not None
            assert f"at {server.url} cannot be reached" in task.error.message
            assert said in task.error.message
            assert (task.attempt, counted, server.requests) == (1, [0], [])


@pytest.mark.parametrize("provider", MODELS)
async def test_who_is_not_there_is_named_and_tried_again(provider: str) -> None:
    for url, said in (
        (f"http://127.0.0.1:{free_port()}", "onnect"),
        ("http://nobody.invalid:1", "known"),
    ):
        task, counted = await attempted(url, provider)
        assert task.error is not None
        assert f"at {url} cannot be reached" in task.error.message
        assert said in task.error.message
        assert (task.attempt, counted) == (2, [0, 0])


async def test_an_address_with_a_password_is_told_without_it() -> None:
    url = f"http://ann:{KEY}@127.0.0.1:{free_port()}"
    task, _ = await attempted(url)
    assert task.error is not None
    assert f"at http://{url.rpartition('@')[2]} cannot be reached" in task.error.message


async def test_who_speaks_another_protocol_is_named_and_tried_again() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with RawHttp(answer(200), context) as server, RawHttp(b"SSH-2.0-OpenSSH_9.6\r\n") as other:
        for url in (server.url.replace("https", "http"), other.url):
            task, _ = await attempted(url)
            assert task.error is not None
            assert f"at {url} broke off, or did not answer: " in task.error.message
            assert task.attempt == 2


@pytest.mark.parametrize("provider", MODELS)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirection_is_followed(provider: str, status: int) -> None:
    # Given an address that sends everybody on to another one
    with RawHttp(answer(200)) as other:
        place = other.url.replace("://", "://ann:secret@")
        with RawHttp(answer(status, location=f"{place}/v1/chat?key=secret")) as server:
            # When an agent asks there
            task, counted = await attempted(server.url, provider)
        # Then nobody else learns the key, and the task fails at once and says where it leads
        assert task.error is not None
        assert f"sends requests on to {other.url}/v1/chat," in task.error.message
        assert (task.attempt, counted, other.requests) == (1, [0], [])


NONSENSE = {
    "no object": answer(200, b"[]"),
    "nothing at all": answer(200, b""),
    "null": answer(200, b"null"),
    "an empty object": answer(200, b"{}"),
    "half of one": answer(200, b'{"id": "x", "choi'),
    "no choices": answer(200, b'{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[]}'),
    "no UTF-8": answer(200, b'{"id": "\xff\xfe"}'),
    "a page": answer(200, b"<html><body>Log in first</body></html>", content_type="text/html"),
    "no content": answer(204),
    "a body that is shorter": answer(200, b"{", content_length="1000"),
    "a chunk that is shorter": answer(200, b'40\r\n{"id": "x"', content_length="", transfer_encoding="chunked").replace(
        b"content-length: \r\n", b""
    ),
    "no gzip": answer(200, b"this is not gzip", content_encoding="gzip"),
}


@pytest.mark.parametrize("what", NONSENSE)
@pytest.mark.parametrize("provider", MODELS)
async def test_an_answer_that_is_none_is_told_so_and_asked_for_again(provider: str, what: str) -> None:
    for stream in (False, True):
        with RawHttp(NONSENSE[what]) as server:
            task, counted = await attempted(server.url, provider, stream=stream)
        assert task.error is not None
        assert task.error.message.startswith("agent 'clerk', turn 1: the model ")
        assert task.attempt == 2
        assert all(counted)
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
async def test_a_refusal_ends_the_task_at_once_and_costs_nothing(status: int) -> None:
    with RawHttp(answer(status, f"<h1>{KEY} is not let in</h1>".encode(), content_type="text/html")) as server:
        task, counted = await attempted(server.url)
    assert task.error is not None
    assert f"HTTP {status}: <h1>*** is not let in</h1>" in task.error.message
    assert (task.attempt, counted) == (1, [0])


@pytest.mark.parametrize("later", ["soon", "-5", "nan", "inf", "1e300", "", "Wed, 99 Foo 2020"])
async def test_a_pause_that_makes_no_sense_is_a_short_one(later: str) -> None:
    with RawHttp(answer(429, b"{}", retry_after=later)) as server:
        task, counted = await attempted(server.url)
    assert task.error is not None
    assert "HTTP 429" in task.error.message
    assert (task.attempt, counted) == (2, [0, 0])


async def test_what_a_model_of_ones_own_raises_stays_what_it_is(store: Store) -> None:
    def broken(*_: object) -> None:
        raise KeyError("mine")

    agent = Agent("own", None, FunctionModel(broken), retry=RetryPolicy(fatal=("KeyError",)))  # type: ignore[arg-type]
    async with working(store, agent):
        task = await ended(store, await ask(store, agent))
    assert task.error is not None
    assert (task.error.type, task.attempt) == ("KeyError", 1)


async def test_a_key_from_the_environment_is_concealed_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with Endpoint([Reply(status=401, error=f"who is {KEY}?")]) as endpoint:
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        agent = Agent("clerk", None, "openai-chat:gpt-5-mini", base_url=endpoint.openai_url)
        async with working(store, agent):
            task = await ended(store, await ask(store, agent))
    assert task.error is not None
    assert "who is ***?" in task.error.message
    assert KEY.encode() not in msgspec.json.encode(task)
