"""The endpoint as a server: many at once, kept alive, closed at once, and no secret in what it remembers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import socket
import sys
from http.client import HTTPConnection

import pytest
from pydantic_ai import Agent

from tenuto.testing import Endpoint, Reply
from tenuto.testing.http_server import HttpServer
from tests.integration.testing.clients import FORMATS, KEY, anthropic_sdk, model, openai_sdk

each_format = pytest.mark.parametrize("format", FORMATS)


async def test_fifty_connections_are_served_at_once() -> None:
    # Given fifty calls, none of which is answered before all have come
    async with Endpoint([Reply(text="all here", hold="all")]) as endpoint, openai_sdk(endpoint) as sdk:
        calls = [asyncio.create_task(sdk.responses.create(model="m", input=f"I am {number}")) for number in range(50)]
        # When
        await asyncio.to_thread(endpoint.wait_for, 50, turn=1)
        endpoint.release("all")
        # Then
        assert {answer.output_text for answer in await asyncio.gather(*calls)} == {"all here"}
        assert endpoint.count(outcome="answered") == 50


def test_a_connection_serves_one_request_after_the_other() -> None:
    with Endpoint(["yes"]) as endpoint:
        connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Go"}]})
        sockets = set()
        for _ in range(3):
            connection.request("POST", "/v1/chat/completions", body, {"Expect": "100-continue"})
            assert connection.sock is not None
            sockets.add(connection.sock.getsockname())
            assert json.loads(connection.getresponse().read())["choices"][0]["message"]["content"] == "yes"
        connection.close()
        assert len(sockets) == 1


@pytest.mark.parametrize("streamed", [False, True])
def test_how_a_call_ended_is_noted_before_its_client_can_look(streamed: bool) -> None:
    with Endpoint(["yes"]) as endpoint:
        connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
        body = json.dumps({"model": "m", "stream": streamed, "messages": [{"role": "user", "content": "Go"}]})
        for _ in range(200):
            connection.request("POST", "/v1/chat/completions", body)
            connection.getresponse().read()
            assert endpoint.calls[-1].outcome == "answered"
        connection.close()


@each_format
async def test_closing_ends_what_is_under_way_at_once(format: str) -> None:
    # Given calls that will never be answered
    async with Endpoint([Reply(silent=True)]) as endpoint, model(format, endpoint) as asked:
        running = [asyncio.create_task(Agent(asked).run(f"Go {number}")) for number in range(5)]
        await asyncio.to_thread(endpoint.wait_for, 5, turn=1)
        # When
        async with asyncio.timeout(60):  # less than the clients wait
            await asyncio.to_thread(endpoint.close)
        # Then
        ended = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(one, Exception) for one in ended)
        assert {call.outcome for call in endpoint.calls} == {"closed"}


async def test_who_comes_while_it_closes_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(what.exc_value))

    async def answer(_: object, __: object) -> None:
        """Nothing is asked."""

    for steps in range(4):
        # Given a server to which somebody has just connected
        server = HttpServer(answer)
        port = await server.start()
        with contextlib.ExitStack() as stack:
            for _ in range(5):
                stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            for _ in range(steps):
                await asyncio.sleep(0)
            # When it is closed
            await server.close()
    # Then no connection is left behind
    await asyncio.sleep(0)
    gc.collect()
    assert told == []


async def test_what_is_remembered_holds_no_secret() -> None:
    async with Endpoint(["yes"]) as endpoint, openai_sdk(endpoint) as openai, anthropic_sdk(endpoint) as anthropic:
        await openai.chat.completions.create(model="m", messages=[{"role": "user", "content": "Go"}])
        await anthropic.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Go"}])
        for call in endpoint.calls:
            assert (call.has_key, call.key_end) == (True, KEY[-4:])
            assert call.headers["content-type"] == "application/json"
            assert call.at > 1_700_000_000
        connection = HTTPConnection("127.0.0.1", endpoint.port, timeout=60)
        connection.request("GET", "/_calls")
        shown = connection.getresponse().read().decode()
        connection.close()
        assert len(json.loads(shown)) == 2
        assert KEY not in shown
        assert KEY[:-4] not in shown


@each_format
async def test_models_are_listed_and_tokens_counted(format: str) -> None:
    async with Endpoint(models=["one", "two"]) as endpoint:
        if format == "anthropic":
            async with anthropic_sdk(endpoint) as sdk:
                names = [one.id async for one in sdk.models.list()]
                said = "x" * 40
                counted = await sdk.messages.count_tokens(model="one", messages=[{"role": "user", "content": said}])
                tokens = counted.input_tokens
        else:
            async with openai_sdk(endpoint) as other:
                names = [one.id async for one in other.models.list()]
                tokens = (await other.responses.input_tokens.count(model="one", input="x" * 40)).input_tokens
        assert names == ["one", "two"]
        assert 10 <= tokens <= 12


@pytest.mark.parametrize(
    ("request_line", "body", "status"),
    [
        ("POST /v1/chat/completions", b"{not json", 400),
        ("POST /v1/chat/completions", b"[]", 400),
        ("POST /v1/embeddings", b"{}", 404),
        ("GET /", b"", 404),
        ("GET /_nothing", b"", 404),
        ("POST /_script", b"{", 400),
        ("GET /v1/responses/resp_0", b"", 404),
        ("NONSENSE", b"", 400),
    ],
)
def test_what_is_no_request_is_refused(request_line: str, body: bytes, status: int) -> None:
    with Endpoint(["yes"]) as endpoint:
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
            head = f"{request_line} HTTP/1.1\r\nhost: here\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())
        connection = socket.create_connection(("127.0.0.1", endpoint.port), timeout=60)
        connection.close()  # without a word, which must not harm the next
        with socket.create_connection(("127.0.0.1", endpoint.port), timeout=60) as connection:
            connection.sendall(b"GET /v1/models HTTP/1.1\r\nhost: here\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_port_that_is_taken_is_an_error() -> None:
    with Endpoint() as first, pytest.raises(OSError, match="address already in use"):
        Endpoint(port=first.port).start()


async def test_environment_variables_lead_the_sdks_here(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Endpoint(["found"]) as endpoint:
        for name, value in endpoint.environment.items():
            monkeypatch.setenv(name, value)
        for asked in ("openai:gpt-5-mini", "anthropic:claude-scripted-1"):
            async with Agent(asked) as agent:
                assert (await agent.run("Go")).output == "found"
        assert [call.model for call in endpoint.calls] == ["gpt-5-mini", "claude-scripted-1"]
