"""PostgreSQL sessions that stay open while the loader waits for CloudZero, and the lock that one of them holds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from typing import Any

import psycopg2

from loader.config.profiles import Target
from loader.config.settings import Stream
from loader.errors import ConfigurationError, LockedError
from loader.warehouse.base import quoted

# Limits that a database or role may have, and that would end a session while CloudZero is slow.
TIMEOUTS = (
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",  # PostgreSQL 14
    "transaction_timeout",  # PostgreSQL 17
    "statement_timeout",
)
KEEPALIVES = {"tcp_keepalives_idle": 30, "tcp_keepalives_interval": 10, "tcp_keepalives_count": 3}  # seconds, probes
# The same for the client's side, in libpq's names: it notices when the server, or a firewall, has dropped a connection.
CLIENT_KEEPALIVES = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60000}


def begin(cursor: Any, target: Target) -> None:
    """Configure the transaction that the cursor's first statement begins, which may be idle while CloudZero is slow.

    Everything is local to the transaction. PgBouncer in transaction mode accepts no `options` at the start of a
    connection, and gives the next transaction to another session, in which settings of a session would be missing or
    someone else's. With the TCP keepalives, the server notices within a minute when a client has vanished, and releases
    its lock and snapshot.

    Args:
        cursor: of a connection without an open transaction.
        target: its profile may have a role.
    """
    if role := target.options.get("role"):
        cursor.execute(f"set local role {quoted(str(role))}")
    values: dict[str, str | int] = {"timezone": "UTC", **dict.fromkeys(TIMEOUTS, 0), **KEEPALIVES}
    cursor.execute(
        "select set_config(wanted.name, wanted.value, true)"
        " from unnest(%s, %s) as wanted (name, value)"
        " inner join pg_catalog.pg_settings on lower(pg_settings.name) = wanted.name",
        (list(values), [str(value) for value in values.values()]),
    )
    cursor.fetchall()


def is_lost(connection: Any) -> bool:
    """Whether the server, or something between, has closed a connection; known after a statement on it has failed."""
    return bool(connection.closed)


def take_lock(connection: Any, target: Target, stream: Stream, wait: float, say: Callable[[str], None]) -> None:
    """Lock the stream's connection id: CloudZero takes one request at a time for it, whatever the URL says.

    The open transaction holds the lock until its connection ends.

    Args:
        connection: a connection for the lock alone.
        target: of the connection.
        stream: the stream.
        wait: seconds to wait for another push.
        say: called with a message when it has to wait.

    Raises:
        LockedError: another push holds it.
        ConfigurationError: the database reported an error.
    """
    connection_id = stream.connection_id
    digest = hashlib.sha256(f"litellm-cbf push to {connection_id}".encode()).digest()
    key = int.from_bytes(digest[:8], "big", signed=True)
    deadline, has_said_so = time.monotonic() + wait, False
    try:
        with connection.cursor() as cursor:
            begin(cursor, target)
            while True:
                cursor.execute("select pg_try_advisory_xact_lock(%s)", (key,))
                if cursor.fetchone()[0]:
                    return
                if time.monotonic() >= deadline:
                    raise LockedError(
                        f"Another push to {connection_id} is in progress, and CloudZero supports one at a time for a"
                        " stream: try again when it has finished, or wait for it with --wait."
                    )
                if not has_said_so:
                    say(f"Waiting for another push to {connection_id}.")
                    has_said_so = True
                time.sleep(0.2)
    except psycopg2.Error as error:
        reason = " ".join(str(error).split()).rstrip(". ")
        raise ConfigurationError(f"Could not take the push lock in PostgreSQL: {reason}.") from error
