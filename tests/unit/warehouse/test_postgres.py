"""The PostgreSQL sessions of the loader: what they ask of a server or a connection pooler."""

from __future__ import annotations

import socket
import struct
import threading
from typing import Any

import pytest

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.delivery.push_log import ACCEPTED, UNKNOWN, Entry, PushLog
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import open_for_push, open_warehouse, pooler_hint
from loader.warehouse.postgres import _connect
from tests.support.warehouse import START, BuiltWarehouse

ONLY_POSTGRES = pytest.mark.parametrize("warehouse", ["postgres"], indirect=True)


def target_of(warehouse: BuiltWarehouse, **options: Any) -> Target:
    database = warehouse.project.database
    assert database
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGDATABASE": "dbname"}
    given = {libpq: database.environment[name] for name, libpq in names.items() if name in database.environment}
    return Target("postgres", "postgres", "cbf", given | options)


def test_a_connection_starts_with_parameters_that_every_pooler_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PGOPTIONS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        startup: list[bytes] = []

        def refuse() -> None:
            connection, _ = server.accept()
            with connection:
                (size,) = struct.unpack("!I", connection.recv(4))
                startup.append(connection.recv(size - 4))
                text = b"SFATAL\0C08P01\0Munsupported startup parameter: options\0\0"
                connection.sendall(b"E" + struct.pack("!I", len(text) + 4) + text)

        thread = threading.Thread(target=refuse)
        thread.start()
        host, port = server.getsockname()
        with pytest.raises(
            ConfigurationError, match=r"cannot be reached: .* ignore_startup_parameters in pgbouncer.ini"
        ):
            _connect(
                Target(
                    "t",
                    "postgres",
                    "cbf",
                    {
                        "host": host,
                        "port": port,
                        "user": "u",
                        "sslmode": "disable",
                        "dbname": "d",
                        "gssencmode": "disable",
                    },
                )
            )
        thread.join()
    names = startup[0][4:].split(b"\0")[:-2:2]
    # The last two are known to PgBouncer, which tracks them for each client.
    assert set(names) <= {b"user", b"database", b"application_name", b"client_encoding"}


def test_the_hint_is_only_for_poolers() -> None:
    assert pooler_hint("FATAL: password authentication failed") == ""
    assert "search_path" in pooler_hint("FATAL:  unsupported startup parameter in options: search_path")


@ONLY_POSTGRES
def test_settings_end_with_the_transaction(warehouse: BuiltWarehouse) -> None:
    database = warehouse.project.database
    assert database
    role = f"billing_{database.name}"[:60]
    database.run(f'create role "{role}"')
    database.run(f'grant "{role}" to current_user; grant usage on schema cbf to "{role}"')
    database.run(f'grant select on all tables in schema cbf to "{role}"; grant insert on cbf.push_log to "{role}"')
    database.run(f"alter database \"{database.name}\" set timezone = 'Asia/Kolkata'")
    settings = (
        "select current_setting('timezone'), current_setting('idle_in_transaction_session_timeout'), current_user"
    )
    with open_for_push(target_of(warehouse, role=role), Stream("c", "https://h"), 5, 0, print) as opened:
        assert list(opened.rows(settings)) == [("UTC", "0", role)]
        log = PushLog(opened, Stream("c", "https://h"))
        log.begin()
        log.append([Entry(START, "f", 1, 1, 2)], "replace_hourly", UNKNOWN)  # type: ignore[arg-type]
        reader, lock, writer = opened._reader, opened._lock, opened._writer  # type: ignore[attr-defined]
        for connection in (reader, lock, writer):
            connection.rollback()
            connection.set_session(readonly=False)
            with connection.cursor() as cursor:
                cursor.execute(settings)
                assert cursor.fetchone() == ("Asia/Kolkata", "0", database.environment["PGUSER"])


@ONLY_POSTGRES
def test_one_connection_id_is_one_lock_whatever_the_url(warehouse: BuiltWarehouse) -> None:
    target = target_of(warehouse)
    with open_for_push(target, Stream("c", "https://host"), 5, 0, print):
        with (
            pytest.raises(LockedError, match="Another push to c is in progress"),
            open_for_push(target, Stream("c", "https://other"), 5, 0, print),
        ):
            pass
        with open_for_push(target, Stream("d", "https://host"), 5, 0, print):
            pass


@ONLY_POSTGRES
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "UTF8"])
def test_any_answer_is_recorded_whatever_the_client_encoding(
    warehouse: BuiltWarehouse, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", encoding)
    stream = Stream("c", "https://h")
    with open_for_push(target_of(warehouse), stream, 5, 0, print) as opened:
        log = PushLog(opened, stream)
        log.begin()
        entry = Entry(START, "f", 1, 1, 2)  # type: ignore[arg-type]
        log.append(
            [entry], "replace_hourly", ACCEPTED, drop_id="d\x00\ud800\u6f22", detail="\x1b[31m\u6f22\udfff" * 999
        )
    with open_warehouse(target_of(warehouse), 5, print) as reading:
        last = PushLog(reading, stream).last_event()
    assert last is not None
    assert last.outcome == ACCEPTED
    assert last.detail.startswith("\ufffd[31m\u6f22\ufffd" if encoding == "UTF8" else "\\ufffd[31m\\u6f22\\ufffd")
