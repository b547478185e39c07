"""The command interface over real ZeroMQ: both forms of request, codes, whitelists, audit, addresses."""

from __future__ import annotations

import json
import os
import re
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zmq

from tenuto.errors import Conflict, Forbidden, InvalidInput, NotFound, TenutoError, Unreachable
from tenuto.supervisor.command_client import CommandClient, found_address
from tenuto.supervisor.command_interface import CommandInterface
from tenuto.supervisor.commands import Command, Parameter
from tests.integration.supervisor.conftest import Kitchen
from tests.integration.supervisor.stage import LIMIT

TOKEN = "a-token-that-nobody-guesses"
Ask = Callable[..., Any]


def plain(address: str, body: bytes) -> dict[str, Any]:
    """What a REQ socket that knows nothing of us is answered."""
    with zmq.Context() as context, context.socket(zmq.REQ) as asker:
        asker.setsockopt(zmq.LINGER, 0)
        asker.connect(address)
        asker.send(body)
        assert asker.poll(round(LIMIT * 1_000))
        found: dict[str, Any] = json.loads(asker.recv())
        return found


def test_every_command_of_the_page_answers(ask: Ask, kitchen: Kitchen) -> None:
    assert [row["name"] for row in ask("ps")] == ["cook", "waiter", "cleaner", "sloth"]
    assert ask("status")["run_mode"] == "DAEMON"
    assert ask("status", {"agent": "waiter"})["depends_on"] == ["cook"]
    assert ask("stop", {"agent_name": "cook"})["state"] == "TERMINATED"
    assert ask("start", ["cook"]) == {"agent": "cook"}
    assert ask("restart", {"name": "cook"}) == {"agent": "cook"}
    stats = ask("stats")
    assert (stats["max_workers"], stats["process"]["pid"]) == (10, os.getpid())
    assert stats["process"]["memory_bytes"] > 1_000_000
    assert [each["name"] for each in stats["each"]] == ["cook", "waiter", "cleaner", "sloth"]
    assert ask("dependencies")["order"][0] == "cook"
    assert ask("history_stats")["by_event"] == {"COMMAND_EXECUTED": 8}
    listed = {each["name"]: each for each in ask("commands")}
    assert listed.keys() == {
        *("ps", "status", "start", "stop", "restart", "stats", "history", "history-stats"),
        *("dependencies", "commands", "shutdown"),
    }
    assert listed["stop"] | {"help": ""} == {
        "name": "stop",
        "help": "",
        "args": ["agent"],
        "acts": True,
        "allowed": True,
    }
    assert kitchen.crew.calls == [("stop", "cook"), ("start", "cook"), ("stop", "cook"), ("start", "cook")]


def test_history_is_asked_with_filters_and_read_on_by_position(ask: Ask, kitchen: Kitchen) -> None:
    for number in range(5):
        kitchen.bus.emit("AGENT_ERROR", agent_name="cook", error_message=f"burnt {number}", password="hot")
    found = ask("history", {"event": "agent_error", "agent": "cook", "severity": "error", "limit": 2})
    assert [each["data"]["error_message"] for each in found] == ["burnt 3", "burnt 4"]
    assert found[0]["data"]["password"] == "***"
    page = ask("history", {"after": found[0]["seq"], "limit": 1})
    assert [each["seq"] for each in page] == [found[1]["seq"]]
    assert ask("history", {"limit": 0}) == []
    for wrong, said in (
        ({"event": "agent_eror"}, "there is no event 'agent_eror': did you mean AGENT_ERROR?"),
        ({"severity": "bad"}, "severity must be debug, info, warning, error, critical, not 'bad'"),
        ({"category": "bad"}, "category must be agent, command"),
        ({"agent": ""}, "history: agent is empty"),
    ):
        with pytest.raises(InvalidInput, match=re.escape(said)):
            ask("history", wrong)
    with pytest.raises(NotFound, match="there is no agent 'nobody'"):
        ask("history", {"agent": "nobody"})
    assert ask("history", {"event": "sold"}) == []  # an event of the program's own may come yet
    assert ask("history", {"event": "agent_ready", "agent": "cook"}) == []


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b'{"command":"stop","args":{"agent":"cook"}}', ("success", 0, None)),
        (b'{"command":"PS","request_id":7}', ("success", 0, 7)),
        (
            b'{"sender":"me","event_name":"COMMAND","payload":{"command":"ps","args":{},"request_id":"r1"},"timestamp":1}',
            ("success", 0, "r1"),
        ),
        (b'{"command":"dance","request_id":"x"}', ("error", 404, "x")),
        (b'{"command":"stop","args":{"agent":"nobody"}}', ("error", 404, None)),
        (b'{"command":"stop"}', ("error", 400, None)),
        (b'{"command":"ps","args":{"loud":true}}', ("error", 400, None)),
        (b'{"command":"ps","args":"all"}', ("error", 400, None)),
        (b'{"command":"ps","args":[1,2,3]}', ("error", 400, None)),
        (b'{"command":"history","args":{"limit":"many"}}', ("error", 400, None)),
        (b'{"command":"history","args":{"limit":100000}}', ("error", 400, None)),
        (b'{"command":"status","args":{"agent":""}}', ("error", 400, None)),
        (b'{"command":"start","args":["cook"]}', ("error", 409, None)),
        (b'{"command":"restart","args":["cleaner"]}', ("error", 500, None)),
        (b'{"payload":{"command":"","request_id":5}}', ("error", 400, 5)),
        (b'{"payload":[]}', ("error", 400, None)),
        (b'{"event_name":"PARTY","payload":{"command":"ps"}}', ("error", 400, None)),
        (b"[1]", ("error", 400, None)),
        (b"", ("error", 400, None)),
        (b"\xff\xfe\x00", ("error", 400, None)),
        (b"[" * 100_000, ("error", 400, None)),
        (b'{"command":"ps","args":' + b'{"a":' * 50_000, ("error", 400, None)),
    ],
)
def test_every_request_is_answered(kitchen: Kitchen, body: bytes, answer: tuple[str, int, object]) -> None:
    address = kitchen.listen().address
    found = plain(address, body)
    assert (found["status"], found["code"], found["request_id"]) == answer
    assert found.keys() == {"status", "code", "data", "error", "request_id"}
    assert (found["error"] is None) == (found["code"] == 0)
    assert plain(address, b'{"command":"ps"}')["code"] == 0  # and it lives on


def test_a_request_of_several_parts_is_refused(kitchen: Kitchen) -> None:
    address = kitchen.listen().address
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.setsockopt(zmq.LINGER, 0)
        dealer.connect(address)
        for parts in ([b"a", b"b", b"c"], [b"", b"a", b"b"], [b'{"command":"ps"}']):
            dealer.send_multipart(parts)
        codes = []
        for _ in range(3):
            assert dealer.poll(round(LIMIT * 1_000))
            codes.append(json.loads(dealer.recv_multipart()[-1])["code"])
    assert sorted(codes) == [0, 400, 400]


def test_the_client_raises_what_the_orchestrator_means(ask: Ask) -> None:
    for kind, command, args, said in (
        (InvalidInput, "stop", {}, "stop needs agent"),
        (NotFound, "stop", {"agent": "nobody"}, "there is no agent 'nobody'"),
        (Conflict, "start", {"agent": "cook"}, "RUNNING already"),
        (
            TenutoError,
            "restart",
            {"agent": "cleaner"},
            "RuntimeError: the broom broke at postgresql://chef:\\*\\*\\*@db",
        ),
    ):
        with pytest.raises(kind, match=said):
            ask(command, args)


def test_secrets_in_settings_do_not_leave(ask: Ask) -> None:
    assert ask("status", {"agent": "cook"})["config"] == {
        "api_key": "***",
        "url": "postgresql://chef:***@db/menu",
        "max_tokens": 100,
        "limit": -1,
    }


def test_a_whitelist_lets_through_what_it_names_and_everything_is_in_the_history(kitchen: Kitchen) -> None:
    kitchen.listen(allowed_commands="monitoring")
    client = kitchen.client(sender="tester")
    client.request("ps")
    with pytest.raises(Forbidden, match="'stop' is not allowed here"):
        client.request("stop", {"agent": "cook", "password": "x"})
    with pytest.raises(NotFound):
        client.request("dance")
    plain(kitchen.interface.address, b"garbage")

    assert kitchen.crew.states["cook"] == "RUNNING"
    assert kitchen.audited() == [("ps", 0), ("stop", 403), ("dance", 404), ("", 400)]
    refused = kitchen.bus.event_store.query(category="command", agent_name="cook")[0]
    assert (refused.sender, refused.severity, refused.args) == (
        "tester",
        "warning",
        {"agent": "cook", "password": "***"},
    )
    assert {each["name"] for each in client.request("commands") if each["allowed"]} == {
        *("ps", "status", "stats", "history", "history-stats", "dependencies", "commands")
    }


def test_reading_goes_on_while_many_agents_are_being_stopped(kitchen: Kitchen) -> None:
    kitchen.listen()
    stops = [kitchen.client() for _ in range(20)]
    threads = [threading.Thread(target=each.request, args=("stop", ["sloth"])) for each in stops]
    for thread in threads:
        thread.start()
    asker = kitchen.client()
    end = time.monotonic() + LIMIT
    while len(kitchen.crew.calls) < 16:  # as many as may act at once
        assert time.monotonic() < end
        time.sleep(0.01)
    for _ in range(20):
        assert len(asker.request("ps")) == 4
    kitchen.crew.patience.set()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert [code for _, code in kitchen.audited()] == [0] * 40


def test_who_asks_an_orchestrator_that_has_ended_is_told_soon(kitchen: Kitchen) -> None:
    interface = kitchen.listen()
    client = kitchen.client()
    assert client.request("ps")
    interface.stop()
    with pytest.raises(Unreachable, match="has ended; 'ps' may be done or not"):  # not: has not answered within
        client.request("ps", timeout=LIMIT)


def test_who_still_waits_when_the_interface_ends_is_told_so(kitchen: Kitchen) -> None:
    interface = kitchen.listen()
    told: list[str] = []

    def ask(client: CommandClient) -> None:
        with pytest.raises(TenutoError) as refused:
            client.request("stop", ["sloth"])
        told.append(str(refused.value))

    threads = [threading.Thread(target=ask, args=(kitchen.client(),)) for _ in range(20)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + LIMIT
    while len(interface._pending) < 20:  # 16 of them have begun, the others have been read at least
        assert time.monotonic() < end
        time.sleep(0.01)
    interface.stop()
    for thread in threads:
        thread.join(LIMIT)
    assert len(told) == 20
    assert set(told) == {"the orchestrator ends: what was asked for may be done or not"}
    interface.start()  # what the first ones come back with later reaches nobody
    kitchen.crew.patience.set()
    assert kitchen.client().request("ps")


def test_an_answer_that_has_no_form_is_an_error_and_ends_nothing(kitchen: Kitchen) -> None:
    kitchen.listen(
        commands=[
            Command("odd", "Answers oddly.", lambda: "\ud800"),
            Command("worse", "Raises oddly.", lambda: [][1:][0]),
            Command("deep", "Answers without end.", lambda: kitchen.crew.endless),
        ]
    )
    client = kitchen.client()
    for name in ("odd", "worse", "deep"):
        with pytest.raises(TenutoError, match="the command failed"):
            client.request(name)
    assert client.request("ps")


def test_shutdown_is_answered_first_and_done_then(kitchen: Kitchen) -> None:
    kitchen.listen()
    assert kitchen.client().request("shutdown") == {"shutting_down": True, "pid": os.getpid()}
    assert kitchen.crew.ended.wait(LIMIT)


def test_a_program_adds_commands_of_its_own(kitchen: Kitchen) -> None:
    greet = Command("greet", "Say hello.", lambda name: f"hello {name}", (Parameter("name", required=True),))
    kitchen.listen(commands=[greet], allowed_commands=["greet"])
    assert kitchen.client().request("greet", {"name": "you"}) == "hello you"


# -- addresses


def test_the_socket_is_found_in_the_run_directory_and_is_its_owners_alone(
    kitchen: Kitchen, private_run_directory: Path
) -> None:
    with pytest.raises(Unreachable, match="no orchestrator listens in"):
        found_address()
    interface = kitchen.listen(name="kitchen")
    path = private_run_directory / "kitchen.sock"
    assert found_address() == interface.address == f"ipc://{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with CommandClient() as client:
        assert client.request("ps")
    interface.stop()
    assert not path.exists()
    with pytest.raises(Unreachable):
        CommandClient(f"ipc://{path}")


def test_of_several_orchestrators_one_must_be_chosen(kitchen: Kitchen) -> None:
    with (
        CommandInterface(kitchen.crew, kitchen.bus, name="one"),
        CommandInterface(kitchen.crew, kitchen.bus, name="two/2"),
        pytest.raises(InvalidInput, match=r"choose one with --socket: .*one\.sock, .*two%2F2\.sock"),
    ):
        found_address()


def test_an_address_in_use_is_refused_and_left_alone(kitchen: Kitchen) -> None:
    first = kitchen.listen()
    with pytest.raises(Conflict, match=r"listens on .* already"):
        CommandInterface(kitchen.crew, kitchen.bus, first.address).start()
    assert kitchen.client().request("ps")

    with CommandInterface(kitchen.crew, kitchen.bus, "tcp://127.0.0.1:*") as port:
        assert port.address.startswith("tcp://127.0.0.1:")
        with pytest.raises(Conflict, match="is in use already"):
            CommandInterface(kitchen.crew, kitchen.bus, port.address).start()
        with CommandClient(port.address) as client:
            assert client.request("ps")


def test_what_a_killed_orchestrator_has_left_is_replaced_and_anything_else_is_not(
    kitchen: Kitchen, private_run_directory: Path
) -> None:
    left = private_run_directory / "orchestrator.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(left))
    dead.close()
    kitchen.listen()
    assert kitchen.client().request("ps")

    (private_run_directory / "letter.sock").write_text("dear reader")
    with pytest.raises(InvalidInput, match="is no socket"):
        CommandInterface(kitchen.crew, kitchen.bus, name="letter").start()
    assert (private_run_directory / "letter.sock").read_text() == "dear reader"


@pytest.mark.parametrize("address", [None, "tcp://127.0.0.1:*"])
def test_an_address_can_be_used_again_at_once_and_nothing_is_left(kitchen: Kitchen, address: str | None) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def round_trip(where: str | None) -> str:
        with CommandInterface(kitchen.crew, kitchen.bus, where) as interface:
            with CommandClient(interface.address) as client:
                client.request("ps")
            return interface.address

    where = round_trip(address)
    before, threads = descriptors(), threading.active_count()
    for _ in range(20):
        round_trip(where)
    end = time.monotonic() + LIMIT
    while threading.active_count() > threads or descriptors() > before:
        assert time.monotonic() < end, [each.name for each in threading.enumerate()]
        time.sleep(0.01)


def test_a_path_too_long_for_a_socket_is_named(
    kitchen: Kitchen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    with pytest.raises(InvalidInput, match="longer than the 103 bytes"):
        CommandInterface(kitchen.crew, kitchen.bus, f"ipc://{deep}/x.sock").start()
    monkeypatch.chdir(deep)  # from here the path is short
    with (
        CommandInterface(kitchen.crew, kitchen.bus, f"ipc://{deep}/x.sock") as interface,
        CommandClient(interface.address) as client,
    ):
        assert client.request("ps")


def test_beyond_loopback_each_request_needs_the_token(kitchen: Kitchen) -> None:
    with pytest.raises(InvalidInput, match="can be reached by others"):
        CommandInterface(kitchen.crew, kitchen.bus, "tcp://0.0.0.0:*")
    address = kitchen.listen("tcp://0.0.0.0:*", token=TOKEN).address.replace("0.0.0.0", "127.0.0.1")
    for token in (None, "wrong"):
        with CommandClient(address, token=token) as client, pytest.raises(Forbidden, match="token is missing or wrong"):
            client.request("ps")
    with CommandClient(address, token=TOKEN) as client:
        assert client.request("ps")
    assert plain(address, json.dumps({"command": "ps", "token": TOKEN}).encode())["code"] == 0
    assert kitchen.audited() == [("ps", 403), ("ps", 403), ("ps", 0), ("ps", 0)]
    assert TOKEN not in json.dumps([each.document() for each in kitchen.bus.event_store.query(limit=1_000)])
