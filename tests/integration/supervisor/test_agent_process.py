"""The process of one agent, and what comes to it before it is ready to listen."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import cloudpickle

from tenuto.supervisor.bootstrap import Order
from tenuto.supervisor.channels import SocketOrchestratorEnd, framed
from tenuto.supervisor.messages import Message, MessageKind
from tests.integration.supervisor.service_agents import WaitsInProcess
from tests.integration.supervisor.stage import LIMIT

PROGRAM = "import sys; from tenuto.supervisor.bootstrap import serve; sys.exit(serve(int(sys.argv[1])))"


def order() -> bytes:
    content: tuple[object, ...] = (WaitsInProcess, None, None, {}, None)
    return Order(
        name="a",
        generation=1,
        path=tuple(sys.path),
        folder=str(Path.cwd()),
        environment=dict(os.environ),
        arguments=(),
        content=cloudpickle.dumps(content),
    ).packed()


def test_a_stop_that_comes_together_with_the_order_is_heard() -> None:
    # Given an agent that is asked to stop before its process has read what it shall be
    ours, theirs = socket.socketpair()
    with ours, theirs:
        orchestrator = SocketOrchestratorEnd("a", 1, ours)
        assert orchestrator.write(framed(order()))
        assert orchestrator.send(Message(kind=MessageKind.STOP, agent="a", generation=1))

        # When the process begins
        command = [sys.executable, "-c", PROGRAM, str(theirs.fileno())]
        with subprocess.Popen(command, pass_fds=[theirs.fileno()], start_new_session=True) as running:
            try:  # Then it ends by itself, although its orchestrator is still there
                assert running.wait(LIMIT) == 0
            finally:
                running.kill()
