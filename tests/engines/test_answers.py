"""A push to a server whose answers are odd: what is recorded, what is shown, and how it ends after a signal."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading

import pytest

from tests.support.anycost import CONNECTION, KEY
from tests.support.project import BIN, ROOT
from tests.support.warehouse import BuiltWarehouse, Usage
from tests.support.wire import Wire, answering, http

PENDING = ("push", "--window", "pending", "--give-up-after", "0s")
A = Usage("a", "0.25")


def settings(wire: Wire) -> dict[str, str]:
    return {
        "CLOUDZERO_API_KEY": KEY,
        "CLOUDZERO_CONNECTION_ID": CONNECTION,
        "CLOUDZERO_API_URL": wire.url,
        "LOADER_CHECK_CONNECTION": "false",  # its request would get the answer that is meant for the body
    }


def receipt(connection: socket.socket, request: bytes) -> None:
    """Accept the body, with an id that neither a database nor a terminal takes as it is."""
    rows = len(json.loads(request.partition(b"\r\n\r\n")[2])["data"])
    content = {"connection": {"drop_id": "d\x00\ud800\x1b[2J\u6f22", "row_count": rows}}
    connection.sendall(http(json.dumps(content)))


def test_an_outcome_is_recorded_whatever_the_answer_contains(warehouse: BuiltWarehouse) -> None:
    nasty = json.dumps({"error": {"message": "no\x00\x1b]0;x\x07\udfff\u6f22"}})
    warehouse.put({0: [A]})
    answers = [lambda connection, _: connection.sendall(http(nasty, 403)), receipt]
    with answering(lambda connection, request: answers.pop(0)(connection, request)) as wire:
        warehouse.project.settings = settings(wire)
        refused = warehouse.project.loader(*PENDING)
        assert refused.code == 4, refused.err
        assert "\x1b" not in refused.err
        accepted = warehouse.project.loader(*PENDING)
        assert accepted.code == 0, accepted.err
    assert warehouse.log("outcome, drop_id") == [
        ("begun", None),
        ("refused", None),
        ("begun", None),
        ("accepted", "d\ufffd\ufffd\ufffd[2J\u6f22"),
    ]
    (((detail),),) = warehouse.project.rows("select detail from cbf.push_log where outcome = 'refused'")
    assert "403: no\ufffd\ufffd]0;x\ufffd\ufffd\u6f22" in detail


@pytest.mark.parametrize("warehouse", ["duckdb"], indirect=True)
def test_a_signal_ends_a_push_whose_answer_does_not_end(warehouse: BuiltWarehouse) -> None:
    warehouse.put({0: [A]})
    asked = threading.Event()

    def endless(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        asked.set()
        pause = threading.Event()
        while not pause.wait(0.1):
            connection.sendall(b"x")

    with answering(endless) as wire:
        warehouse.project.settings = settings(wire)
        push = subprocess.Popen(
            [BIN / "loader", *PENDING],
            env=warehouse.project.environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert asked.wait(60)
        push.send_signal(signal.SIGTERM)
        out, err = push.communicate(timeout=60)
    assert (push.returncode, out) == (143, ""), err
    assert "Stopped by SIGTERM after a try of the hour" in err
    assert "which may be stored" in err
    assert [outcome for (outcome,) in warehouse.log()] == ["begun", "unknown"]
