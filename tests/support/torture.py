"""A random schedule of pushes to a sandbox that injects faults; everything follows from a seed.

The loader runs in separate processes, some of which are killed. Only its waits are shorter than in production, both
between retries and after `Retry-After`, in proportion to the latency of the sandbox.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from hashlib import sha256
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from loader.hours import HOUR, iso
from loader.sandbox.anycost import AnyCostSandbox, Limits
from loader.sandbox.faults import KINDS
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import KEY, credentials, stored_months
from tests.support.forked_commands import CONTEXT
from tests.support.hostile_answers import HostileFaults
from tests.support.project import ROOT
from tests.support.warehouse import START, BuiltWarehouse, Usage

BODY_BYTES = 6_000  # small, so that an hour with a few lines does not fit into one body
PACE = float(os.environ.get("TORTURE_PACE", "1"))  # more for a busy machine, on which an answer could miss SETTLE
# Seconds: an answer may arrive after the timeout, but not after SETTLE.
LATENCY, READ_TIMEOUT, SETTLE = 0.12 * PACE, 0.06 * PACE, 0.3 * PACE
PATIENCE = f"{2 * PACE}s"
TOTALS: Counter[str] = Counter()  # what happened in all schedules; printed at the end of the session


def run_loader(environment: dict[str, str], arguments: list[str], output: str) -> None:
    """The main function of a process: the real command, with shorter waits."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.stdout = sys.stderr = Path(output).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115

    import loader.cloudzero.client
    import loader.cloudzero.responses
    import loader.delivery.retry
    from loader.cli.main import main

    retry_after = loader.cloudzero.responses.retry_after
    loader.delivery.retry.FIRST_WAIT, loader.delivery.retry.MAX_WAIT = 0.004, 0.03
    loader.cloudzero.responses.retry_after = lambda value: (retry_after(value) or 0) * 0.01
    _, on_status = loader.cloudzero.client.AnyCost.__init__.__defaults__ or ()
    loader.cloudzero.client.AnyCost.__init__.__defaults__ = ((1.0, READ_TIMEOUT), on_status)
    main(arguments, prog_name="loader")


@dataclass
class Schedule:
    """A schedule in progress."""

    seed: int
    warehouse: BuiltWarehouse
    anycost: SandboxServer
    trouble: HostileFaults
    folder: Path
    usage: dict[int, list[Usage]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    events: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311
        self.runs = 0

    def change(self) -> None:
        """Change the warehouse like a dbt run: new hours, late rows, renamed teams, lost lines, emptied hours."""
        changed: dict[int, list[Usage]] = {}
        first_new = max(self.usage, default=-1) + 1
        for number in range(first_new, first_new + self.random.randrange(4)):
            lines = self.random.choice((1, 2, 3, 3, 30))
            changed[number] = [self._usage(f"t{n}") for n in range(lines)]
        for number in self.random.sample(sorted(self.usage), min(len(self.usage), self.random.randrange(3))):
            lines_now = list(self.usage[number])
            kind = self.random.choice(("late", "late", "renamed", "lost", "emptied"))
            if kind == "late" or not lines_now:
                lines_now.append(self._usage(f"late{len(lines_now)}"))
            elif kind == "renamed":
                lines_now[0] = Usage(lines_now[0].team, lines_now[0].cost, f"name{self.random.random()}")
            elif kind == "lost":
                lines_now.pop()
            else:
                lines_now = []
            self.counts[f"hour {kind}"] += 1
            changed[number] = lines_now
        self.usage |= changed
        self.warehouse.put(changed)
        self.events.append(f"changed {sorted(changed)}")

    def step(self) -> None:
        """Run one or two pushes, which may be killed or stopped."""
        self.trouble.rate = self.random.choice((0.0, 0.2, 0.5, 0.8))
        kind = self.random.choice(("push", "killed", "killed", "stopped", "two", "window"))
        self.counts[kind] += 1
        if kind == "two":
            processes = [self.start(*self._pending(), *self.random.choice(((), ("--wait", "3s")))) for _ in range(2)]
        elif kind == "window":
            first = self.random.randrange(max(self.usage, default=0) + 1)
            window = ("--start", iso(START + first * HOUR), "--end", iso(START + (first + 3) * HOUR))
            processes = [self.start("push", *window, "--include-incomplete", *self._options())]
        else:
            processes = [self.start(*self._pending())]
        if kind in ("killed", "stopped"):
            time.sleep(self.random.uniform(0, 0.6))
            processes[0].kill() if kind == "killed" else processes[0].terminate()
        for process in processes:
            process.join(60)
            assert process.exitcode is not None, f"did not finish: {self.report()}"
            self.counts[f"exit {process.exitcode}"] += 1
            # 4 only after a hostile answer, which may refuse what was stored. 2 and 3 would be an error in the test, 1 a
            # crash. -15: stopped before the push began.
            possible = (0, 5, 6, -9, -15, 143) + ((4,) if self.trouble.hostile_answers else ())
            assert process.exitcode in possible, f"exit {process.exitcode}: {self.report()}"

    def start(self, *arguments: str) -> ForkServerProcess:
        """Start the loader."""
        self.runs += 1
        output = str(self.folder / f"run_{self.runs}.txt")
        self.events.append(f"run {self.runs}: {' '.join(arguments)}, trouble {self.trouble.rate}")
        process = CONTEXT.Process(
            target=run_loader, args=(self.warehouse.project.environment(), list(arguments), output)
        )
        process.start()
        return process

    def finish_without_faults(self) -> None:
        """Without faults, one push completes everything and the next has nothing to send."""
        self.trouble.rate = 0.0
        for purpose in ("completes everything", "has nothing to send"):
            bodies = len(self.anycost.sandbox.state()["requests"])
            process = self.start(*self._pending())
            process.join(60)
            assert process.exitcode == 0, f"the push that {purpose}: {self.report()}"
        assert len(self.anycost.sandbox.state()["requests"]) == bodies, self.report()

    def require_complete_data(self) -> None:
        """Assert that AnyCost has every hour exactly once, byte for byte, and never got two concurrent requests."""
        found = {hour: each for month in stored_months(self.anycost).values() for hour, each in month["hours"].items()}
        expected = self.warehouse.rows(range(max(self.usage, default=0) + 1))
        for hour, rows in expected.items():
            assert hour in found, f"{hour} is missing: {self.report()}"
            assert found[hour]["rows"] == len(rows), f"{hour}: {self.report()}"
            assert found[hour]["digest"] == sha256(b"\n".join(rows)).hexdigest(), f"{hour}: {self.report()}"
        for hour in set(found) - set(expected):
            assert (found[hour]["rows"], found[hour]["cost"]) == (1, "0"), f"{hour} should be empty: {self.report()}"
        assert self.anycost.sandbox.concurrent_requests_seen == 0, self.report()

    def report(self) -> str:
        """What happened, for the message of a failure."""
        texts = [
            f"--- run {n}\n{(self.folder / f'run_{n}.txt').read_text()}"
            for n in range(1, self.runs + 1)
            if (self.folder / f"run_{n}.txt").exists()
        ]
        requests = [
            f"{each['status']} {each.get('trouble', '')} {each['rows']}"
            for each in self.anycost.sandbox.state()["requests"]
        ]
        return "\n".join(
            [f"seed {self.seed}; to repeat it: make torture SEEDS={self.seed}", *self.events, *texts, *requests]
        )

    def _pending(self) -> tuple[str, ...]:
        return ("push", "--window", "pending", *self._options())

    def _options(self) -> tuple[str, ...]:
        return (
            "--allow-shrink",
            "--max-body-mb",
            str(BODY_BYTES / 1e6),
            "--give-up-after",
            PATIENCE,
            "--settle-for",
            f"{SETTLE}s",
            "--lock-timeout",
            "5s",
        )

    def _usage(self, team: str) -> Usage:
        cost = f"{self.random.randrange(10)}.{self.random.randrange(10**18):018}"
        return Usage(team, cost)


def run_schedule(seed: int, warehouse: BuiltWarehouse, folder: Path) -> Counter[str]:
    """Run the schedule of this seed. Returns counts of what happened.

    Raises:
        AssertionError: something was lost or counted twice; the message says how to repeat the schedule.
    """
    chance = random.Random(f"trouble {seed}")  # noqa: S311
    kinds = chance.sample(KINDS, chance.randint(1, len(KINDS)))
    trouble = HostileFaults(seed, LATENCY, kinds)
    with serve_sandbox(AnyCostSandbox(KEY, Limits(body_bytes=BODY_BYTES), faults=trouble)) as anycost:
        warehouse.project.settings = credentials(anycost)
        schedule = Schedule(seed, warehouse, anycost, trouble, folder)
        for _ in range(chance.randint(2, 6)):
            schedule.change()
            schedule.step()
        schedule.finish_without_faults()
        schedule.require_complete_data()
        schedule.counts.update({f"trouble {kind}": count for kind, count in trouble.counts.items() if count})
        schedule.counts["hostile answers"] += trouble.hostile_answers
        schedule.counts["requests"] += sum(
            1 for each in anycost.sandbox.state()["requests"] if each["method"] == "POST"
        )
        return schedule.counts
