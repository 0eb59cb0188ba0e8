"""A random schedule of real dbt runs and pushes over a changing source; everything follows from a seed.

dbt is killed at any moment, overlaps with another run, runs on a host whose clock is ahead, with other vars, without
room on the disk, or loses its database connections or the database server; a backup of the warehouse is restored;
requests arrive late, twice, from the future and after outages of days, are removed by retention, or were wrong and
disappear; AnyCost injects faults. What must come out is computed here, from the requests and not from the models.
"""

from __future__ import annotations

import contextlib
import random
import resource
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import time_machine

from loader.hours import HOUR, month_start, next_month
from loader.sandbox.anycost import AnyCostSandbox, FaultInjector, Limits
from loader.sandbox.faults import KINDS
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import KEY, credentials, read_back
from tests.support.forked_commands import CONTEXT, run_command
from tests.support.hostile_answers import HostileFaults
from tests.support.litellm.requests import Row, spend_log, write
from tests.support.project import ROOT, Project
from tests.support.torture import BODY_BYTES, LATENCY, PATIENCE, SETTLE, run_loader

LONGEST_DELAY = timedelta(hours=60)  # between the start of a request and its spend log, less than var lookback_hours
FIRST = datetime(2026, 9, 28, tzinfo=timezone.utc)  # before the end of a month
DELIVERY_OPTIONS = ("--allow-shrink", "--give-up-after", PATIENCE, "--settle-for", f"{SETTLE}s", "--lock-timeout", "5s")
RETENTION = timedelta(hours=90)  # more than var lookback_hours
KINDS_OF_RUN = ("plain", "plain", "killed", "killed", "two", "clock ahead", "other vars", "no room", "disconnected")
KINDS_OF_SOURCE = ("all stay", "retention", "wrong requests", "restored")


def run_at(
    clock: datetime, free_bytes: int | None, arguments: list[str], environment: dict[str, str], output: str
) -> None:
    """The main function of a process: dbt on a host with this clock and this room for a file.

    A file that grows beyond the limit gives the same error as a full disk, EFBIG instead of ENOSPC.
    """
    if free_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, free_bytes))
    with time_machine.travel(clock.timestamp(), tick=True):
        run_command("dbt", arguments, environment, ROOT, Path(output), Path(output))


def push_at(clock: datetime, environment: dict[str, str], arguments: list[str], output: str) -> None:
    """The main function of a process: the loader on a host with this clock."""
    with time_machine.travel(clock.timestamp(), tick=True):
        run_loader(environment, arguments, output)


@dataclass
class DisturbedRuns:
    """A schedule in progress.

    Attributes:
        kind: what else happens: the source loses old requests that were summed, and stay in the sums; gets requests
            that are wrong, and are removed again; or a backup of the warehouse is restored.
    """

    seed: int
    project: Project
    anycost: SandboxServer
    trouble: FaultInjector
    clock: datetime = FIRST
    counted: dict[str, Row] = field(default_factory=dict)
    wrong: dict[str, Row] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(f"runs {self.seed}")  # noqa: S311
        self.kind = self.random.choice(KINDS_OF_SOURCE)
        self.has_backup = self.is_restored = False
        self.processes = 0
        self.files = 0

    def play(self, rounds: int) -> None:
        """Play rounds of new requests, a run and a push."""
        for _ in range(rounds):
            self.clock += timedelta(hours=self.random.choice((1, 1, 4, 20, 110)), minutes=self.random.randrange(60))
            if self.kind == "restored" and self.random.random() < 0.7:
                self.back_up_or_restore()
            self.land()
            self.run(self.random.choice(KINDS_OF_RUN))
            if self.kind == "retention" and self.random.random() < 0.5:
                self.trim()
            self.push()
        self.finish()

    def back_up_or_restore(self) -> None:
        """Back the warehouse up, if that was not done yet; otherwise restore the backup."""
        step = "restore" if self.has_backup else "backup"
        copy = self.project.folder / "backup.copy"
        if self.project.database:
            self._postgres_backup(step, copy)
        elif self.project.duckdb_file.exists():
            process = self._loader(step, str(copy))
            process.join()
            # 3: a killed first run of dbt has left no tables
            assert process.exitcode == 0 or (step, process.exitcode) == ("backup", 3), self.report()
        self.is_restored |= self.has_backup
        self.has_backup |= copy.exists()
        self.counts[step] += 1

    def _postgres_backup(self, step: str, copy: Path) -> None:
        database = self.project.database
        assert database is not None
        if step == "restore":
            database.run("drop schema if exists cbf cascade")
            database.server.program("pg_restore", "--dbname", database.name, str(copy))
        elif database.run("select 1 from information_schema.schemata where schema_name = 'cbf'"):
            names = ("--schema", "cbf", "--file", str(copy))
            database.server.program("pg_dump", "--format", "custom", *names, database.name)

    def trim(self) -> None:
        """Sum everything, then remove spend logs that are older than the lookback window, as LiteLLM's retention."""
        process = self._dbt()
        process.join()
        assert process.exitcode == 0, self.report()
        old = {key: row for key, row in self.counted.items() if self._start(row) < self.clock - RETENTION}
        self._remove(old)
        self.counts["removed by retention"] += len(old)

    def land(self) -> None:
        """New spend logs since the last round: in time, late, again, from the future; or some that disappear."""
        rows: list[Row] = []
        for _ in range(self.random.randint(1, 4)):
            delay = self.random.choice((timedelta(minutes=5), timedelta(hours=3), LONGEST_DELAY))
            rows.append(self._request(self.clock - delay * self.random.random()))
        if self.counted and self.random.random() < 0.3:
            again = self.counted[self.random.choice(sorted(self.counted))]
            if self._start(again) > self.clock - LONGEST_DELAY:
                rows.append(again | {"spend": again["spend"] + 0.25, "updated_at": self._text(self.clock)})
        if self.random.random() < 0.2:
            rows.append(self._request(self.clock + timedelta(days=30)))
            self.counts["from the future"] += 1
        self.counted |= {row["request_id"]: row for row in rows}
        self._add(rows)
        if self.kind == "wrong requests" and self.wrong and self.random.random() < 0.7:
            self._remove(self.wrong)
            self.wrong.clear()
            self.counts["wrong requests removed"] += 1
        elif self.kind == "wrong requests":
            wrong = [self._request(self.clock - 2 * HOUR * self.random.random()) for _ in range(2)]
            self.wrong |= {row["request_id"]: row for row in wrong}
            self._add(wrong)

    def run(self, kind: str) -> None:
        """One run of dbt, or two at once."""
        self.counts[f"run {kind}"] += 1
        if kind == "killed":
            process = self._dbt()
            process.join(self.random.uniform(0.3, 4))
            process.kill()
            process.join()
        elif kind == "two":
            both = [self._dbt()]
            time.sleep(self.random.uniform(0, 1.5))
            self.clock += timedelta(minutes=self.random.randrange(20))
            late = self._request(self.clock - timedelta(minutes=1))
            self.counted[late["request_id"]] = late
            self._add([late])
            both.append(self._dbt())
            if self.random.random() < 0.5:
                time.sleep(self.random.uniform(0, 1.5))
                both[self.random.randrange(2)].kill()
            for process in both:
                process.join()
        elif kind == "clock ahead":
            self._dbt(clock=self.clock + timedelta(minutes=self.random.choice((10, 150)))).join()
        elif kind == "other vars":
            self._dbt("--vars", self.random.choice(("token_tags: false", "line_dimensions: [user, api_key]"))).join()
        elif kind == "no room" and self.project.database is None and self.project.duckdb_file.exists():
            size = self.project.duckdb_file.stat().st_size
            self._dbt(free_bytes=size + self.random.randrange(0, 600_000)).join()
        elif kind == "disconnected" and self.project.database:
            process = self._dbt()
            process.join(self.random.uniform(0.3, 3))
            if self.random.random() < 0.3:
                self.project.database.server.restart()
                self.counts["database restarted"] += 1
            else:
                self.project.database.run(
                    "select pg_terminate_backend(pid) from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                )
            process.join()
        else:
            self._dbt().join()

    def push(self) -> None:
        """A push with faults, sometimes killed."""
        self.trouble.rate = self.random.choice((0.0, 0.3, 0.7))
        process = self._push()
        if self.random.random() < 0.3:
            process.join(self.random.uniform(0, 0.8))
            process.kill()
            self.counts["push killed"] += 1
        process.join(90)
        assert process.exitcode is not None, self.report()
        # 3 to 6: no models yet, a guard, retries given up, a month without room. 1 would be a crash.
        assert process.exitcode in (0, 2, 3, 4, 5, 6, -9), f"exit {process.exitcode}: {self.report()}"
        self.counts[f"push exit {process.exitcode}"] += 1

    def finish(self) -> None:
        """Undisturbed runs and pushes; then AnyCost holds every complete hour exactly, and nothing is left to send."""
        self.trouble.rate = 0.0
        if self.wrong:
            self._remove(self.wrong)
        options = ["--full-refresh", "--vars", "rebuild_thinner_hours: true"] if self.kind == "wrong requests" else []
        self.clock += timedelta(minutes=30)
        for arguments in (options, []):
            process = self._dbt(*arguments)
            process.join()
            assert process.exitcode == 0, self.report()
        if self.is_restored:
            self._repair()
        for _ in range(2):
            before = len(self.anycost.sandbox.state()["requests"])
            process = self._push()
            process.join(90)
            assert process.exitcode == 0, self.report()
        assert len(self.anycost.sandbox.state()["requests"]) == before, f"sent again: {self.report()}"
        assert self.anycost.sandbox.concurrent_requests_seen == 0, self.report()
        expected, complete = Counter[str](), self.clock.replace(minute=0, second=0, microsecond=0)
        for row in self.counted.values():
            hour = self._start(row).replace(minute=0, second=0, microsecond=0)
            if hour < complete:
                expected[f"{hour:%Y-%m-%dT%H:%M:%SZ}"] += Decimal(repr(row["spend"]))  # type: ignore[assignment]
        found = Counter[str]()
        for line in read_back(self.anycost):
            found[line["time/usage_start"]] += Decimal(line["cost/cost"])  # type: ignore[assignment]
        found = Counter({hour: cost for hour, cost in found.items() if cost})
        assert found == expected, f"{set(found.items()) ^ set(expected.items())}: {self.report()}"

    def report(self) -> str:
        """What happened, for the message of a failure."""
        outputs = [
            f"--- {path.name}\n{path.read_text()}"
            for path in sorted(self.project.folder.glob("process_*.txt"), key=lambda each: each.stat().st_mtime)
        ]
        return "\n".join([f"seed {self.seed}; to repeat it: make torture SEEDS={self.seed}", *self.events, *outputs])

    def _dbt(self, *arguments: str, clock: datetime | None = None, free_bytes: int | None = None) -> ForkServerProcess:
        paths = ("--target-path", str(self.project.folder / "target"), "--log-path", str(self.project.folder / "logs"))
        kinds = ("--exclude-resource-type", "test", "--exclude-resource-type", "unit_test")
        command = ["--no-use-colors", "build", *kinds, *arguments, *paths]
        return self._start_process(
            run_at, (clock or self.clock, free_bytes, command, self.project.environment()), f"dbt {arguments}"
        )

    def _repair(self) -> None:
        """After a restored backup, as documented: a run, which came before this, and `verify` for each month."""
        month = month_start(FIRST)
        while month <= self.clock:
            process = self._loader("verify", "--month", f"{month:%Y-%m}", "--repair", *DELIVERY_OPTIONS)
            process.join(90)
            assert process.exitcode == 0, self.report()
            month = next_month(month)

    def _push(self) -> ForkServerProcess:
        return self._loader("push", "--window", "pending", "--max-body-mb", str(BODY_BYTES / 1e6), *DELIVERY_OPTIONS)

    def _loader(self, *arguments: str) -> ForkServerProcess:
        command = (self.clock, self.project.environment(), list(arguments))
        return self._start_process(push_at, command, " ".join(arguments[:3]))

    def _start_process(self, target: Any, arguments: tuple[Any, ...], event: str) -> ForkServerProcess:
        self.processes += 1
        self.events.append(f"process {self.processes} at {self.clock}: {event}, trouble {self.trouble.rate}")
        output = str(self.project.folder / f"process_{self.processes}.txt")
        process = CONTEXT.Process(target=target, args=(*arguments, output))
        process.start()
        return process

    def _request(self, start: datetime) -> Row:
        number = self.random.randrange(10**12)
        spend = self.random.randrange(1, 10**6) / 2**20
        return spend_log(
            f"r-{number}",
            start,
            spend=spend,
            team_id=f"team-{number % 5}",
            created_at=self._text(self.clock),
            updated_at=self._text(self.clock),
        )

    def _add(self, rows: list[Row]) -> None:
        if self.project.database:
            ids = ", ".join("'" + row["request_id"] + "'" for row in rows)
            self.project.database.run(f'delete from "LiteLLM_SpendLogs" where request_id in ({ids})')
            self.project.database.insert_spend_logs(rows)
            return
        for row in rows:
            self.files += 1
            write([row], self.project.logs, "jsonl", f"{row['request_id']}_{self.files}")

    def _remove(self, rows: dict[str, Row]) -> None:
        for request_id in rows:
            if self.project.database:
                self.project.database.run('delete from "LiteLLM_SpendLogs" where request_id = %s', (request_id,))
            else:
                for file in self.project.logs.glob(f"{request_id}_*"):
                    file.unlink()

    @staticmethod
    def _start(row: Row) -> datetime:
        return datetime.fromisoformat(row["startTime"]).replace(tzinfo=timezone.utc)

    @staticmethod
    def _text(moment: datetime) -> str:
        return moment.replace(tzinfo=None).isoformat(timespec="milliseconds")


def play_schedule(seed: int, project: Project) -> Counter[str]:
    """Play the schedule of this seed. Returns counts of what happened.

    Raises:
        AssertionError: something was lost or counted twice; the message says how to repeat the schedule.
    """
    chance = random.Random(f"runs {seed}")  # noqa: S311
    trouble = HostileFaults(seed, LATENCY, chance.sample(KINDS, chance.randint(1, len(KINDS))))
    with serve_sandbox(AnyCostSandbox(KEY, Limits(body_bytes=BODY_BYTES), faults=trouble)) as anycost:
        project.settings = credentials(anycost)
        schedule = DisturbedRuns(seed, project, anycost, trouble)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(project.folder / "target")
        schedule.play(chance.randint(2, 5))
        schedule.counts["hostile answers"] += trouble.hostile_answers
        return schedule.counts
