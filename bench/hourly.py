"""An hourly run on 30 days of spend logs compared with one on their last day only, on DuckDB and PostgreSQL.

Both have the same rows on the last day. In each round, the same few new spend logs of the last hour are added to both,
and `dbt run` and `loader push` are timed on each, in alternating order.
"""

from __future__ import annotations

import os
import statistics
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import duckdb

from bench import read_rate
from bench.measure import BIN, Run, build_models, report, run, run_and_report
from loader.sandbox.sample import SamplePlan, write_sample
from tests.support.litellm.database import Database, Server

ROWS = int(os.environ.get("BENCH_HISTORY_ROWS", "10000000"))
DAYS = 30
ROUNDS, WARM_UP = 5, 2
MAX_RATIO = 1.3
NAMES = {"30 days": 30, "one day": 1}
MANY_LINES = ["user", "metadata:feature"]  # more than 1,000,000 lines of 10,000,000 spend logs
TABLE = '"LiteLLM_SpendLogs"'


@dataclass(frozen=True)
class Logs:
    """Spend logs in Parquet: files of all days, files of the last day, and one file of new rows for each round.

    `last_hour` is the newest complete hour (UTC).
    """

    last_hour: datetime
    all_days: Sequence[Path]
    last_day: Sequence[Path]
    rounds: Sequence[Path]


def make_logs(folder: Path, now: datetime) -> Logs:
    """Write the sample and split the rows of the last hour into rounds."""
    sample = write_sample(SamplePlan(rows=ROWS, days=DAYS, until=now, format="parquet"), folder / "sample")
    hour = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    begin, count = hour - timedelta(hours=23), ROUNDS + WARM_UP
    database = duckdb.connect()
    database.execute("set TimeZone = 'UTC'")

    def cut(name: str, files: Sequence[Path], condition: str) -> Path:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        listed = [str(each) for each in files]
        rows = database.from_parquet(listed).filter(condition)
        rows.write_parquet(str(path))
        return path

    newest = sorted(sample.files)[-2:]
    older, first, last = (
        sorted(sample.files)[:-2],
        f"timestamp '{begin:%Y-%m-%d %H:%M}'",
        f"timestamp '{hour:%Y-%m-%d %H:%M}'",
    )
    return Logs(
        hour,
        [*older, *(cut(f"all/{each.name}", [each], f'"startTime" < {last}') for each in newest)],
        [cut(f"day/{each.name}", [each], f'"startTime" >= {first} and "startTime" < {last}') for each in newest],
        [
            cut(f"rounds/{each}.parquet", newest, f'"startTime" >= {last} and hash(request_id) % {count} = {each}')
            for each in range(count)
        ],
    )


class History(ABC):
    """A source of spend logs and its warehouse."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.environment = dict(environment) | {
            "CLOUDZERO_CONNECTION_ID": f"bench-{folder.name}",
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "log"),
        }

    @abstractmethod
    def add(self, files: Sequence[Path]) -> None:
        """Add spend logs to the source."""

    def other_warehouse(self, name: str) -> dict[str, str]:
        """The environment for another, empty warehouse on the same source."""
        environment = dict(self.environment)
        for variable in ("LOADER_DUCKDB_PATH", "DBT_TARGET_PATH", "CLOUDZERO_CONNECTION_ID"):
            if variable in environment:
                environment[variable] += f"-{name}"
        return environment | {"DBT_SCHEMA": f"cbf_{name}"}


class Files(History):
    """Parquet files with a DuckDB warehouse."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(name, folder, environment)
        self._logs = folder / "logs"
        self._logs.mkdir(parents=True)
        self.environment |= {
            "DBT_TARGET": "dev",
            "LOADER_DUCKDB_PATH": str(folder / "spend.duckdb"),
            "LITELLM_SPEND_LOGS": f"{self._logs}/*",
        }

    def add(self, files: Sequence[Path]) -> None:
        """See `History.add`."""
        for each in files:
            (self._logs / f"{each.parent.name}-{each.name}").symlink_to(each)


class Table(History):
    """LiteLLM's table with its indexes, in a database created by LiteLLM's migrations."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], database: Database) -> None:
        super().__init__(name, folder, environment)
        database.migrate()
        self._database = database
        self.environment |= {"DBT_TARGET": "postgres", **database.environment}

    def add(self, files: Sequence[Path]) -> None:
        """See `History.add`."""
        known = {
            name
            for (name,) in self._database.run(
                "select column_name from information_schema.columns where table_name = %s", (TABLE.strip('"'),)
            )
        }
        reader = duckdb.connect()
        columns = [name for name in reader.from_parquet(str(files[0])).columns if name in known]
        names = ", ".join(f'"{each}"' for each in columns)
        connection = self._database.connect()
        for each in files:
            out, into = os.pipe()

            def produce(file: Path = each, end: int = into) -> None:
                query = f"select {names} from read_parquet('{file}')"  # noqa: S608
                reader.execute(f"copy ({query}) to '/dev/fd/{end}' (format csv, header false)")
                os.close(end)

            thread = threading.Thread(target=produce)
            thread.start()
            with os.fdopen(out) as rows, connection.cursor() as cursor:
                cursor.copy_expert(f"copy {TABLE} ({names}) from stdin with (format csv)", rows)
            thread.join()
            connection.commit()
        connection.autocommit = True
        connection.cursor().execute(f"vacuum analyze {TABLE}")
        connection.close()


def hourly(history: History, last_hour: datetime) -> tuple[Run, Run]:
    """One hourly run: dbt, then the push of the last hour."""
    # As `last_hour` while that still is the last hour; later by its bounds.
    window = ["--start", f"{last_hour:%Y-%m-%dT%H:%MZ}", "--end", f"{last_hour + timedelta(hours=1):%Y-%m-%dT%H:%MZ}"]
    if datetime.now(timezone.utc) - last_hour < timedelta(hours=2):
        window = ["--window", "last_hour"]
    built = run([str(BIN / "dbt"), "--quiet", "run"], history.environment)
    return built, run([str(BIN / "loader"), "push", *window], history.environment)


def compare(engine: str, month: History, day: History, logs: Logs) -> float:
    """Load both, then time the rounds alternately. Returns the ratio of the medians."""
    peaks = []
    for history, files in ((day, logs.last_day), (month, logs.all_days)):
        history.add(files)
        load = [str(BIN / "loader"), "load", "--step", "day"]
        peaks.append(
            run_and_report(f"{engine}, {history.name}: loader load --step day", load, history.environment).peak_mb
        )
    report(f"{engine}: peak memory of the first load", f"30 days {peaks[1] / peaks[0]:.2f} times one day")
    seconds: dict[str, list[float]] = {month.name: [], day.name: []}
    for number, file in enumerate(logs.rounds):
        pair = (month, day) if number % 2 else (day, month)
        for history in pair:
            history.add([file])
        for history in pair:
            built, pushed = hourly(history, logs.last_hour)
            if number >= WARM_UP:
                seconds[history.name].append(built.seconds + pushed.seconds)
                report(f"  {history.name}", f"dbt run {built.seconds:.2f} s, push {pushed.seconds:.2f} s")
    long, short = (statistics.median(seconds[history.name]) for history in (month, day))
    report(
        f"{engine}: hourly run on {ROWS:,} rows compared with their last day",
        f"{long:.2f} s / {short:.2f} s: {long / short:.2f} times, expected at most {MAX_RATIO}",
    )
    return long / short


def measure(engine: str, logs: Logs, month: History, day: History) -> None:
    """All measurements of one engine."""
    compare(engine, month, day, logs)
    many = month.other_warehouse("many")
    build_models(f"{engine}, {month.name}, by {', '.join(MANY_LINES)}: one dbt run", many, line_dimensions=MANY_LINES)
    read_rate.push_all(engine, many)
    read_rate.compare(engine, many)


def main(folder: Path, environment: Mapping[str, str]) -> None:
    """Measure both engines on the same rows, including a push of all lines and how fast they are read."""
    logs = make_logs(folder, datetime.now(timezone.utc))
    print(f"{ROWS:,} spend logs of {DAYS} days; {ROUNDS} rounds after {WARM_UP} warm-up rounds", flush=True)
    engines = os.environ.get("BENCH_ENGINES", "duckdb postgres").split()
    if "duckdb" in engines:
        files = [Files(name, folder / f"duckdb-{days}", environment) for name, days in NAMES.items()]
        measure("DuckDB", logs, *files)
    if "postgres" in engines:
        server = Server(folder / "pg")
        try:
            tables = [
                Table(name, folder / f"postgres-{days}", environment, server.create(f"days_{days}"))
                for name, days in NAMES.items()
            ]
            measure("PostgreSQL", logs, *tables)
        finally:
            server.stop()
