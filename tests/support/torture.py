"""One random schedule of pushes against an AnyCost that makes trouble, all of it from a seed.

The loader runs as processes of its own, which are killed for real. Only its clock runs faster: the waits between tries
and what `Retry-After` asks for are shorter than in life, in proportion to the latency of the sandbox.
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
from loader.sandbox.anycost import AnyCostSandbox, FaultInjector, Limits
from loader.sandbox.faults import KINDS
from loader.sandbox.server import SandboxServer, serve_sandbox
from tests.support.anycost import KEY, credentials, held
from tests.support.forked_commands import CONTEXT
from tests.support.project import ROOT
from tests.support.warehouse import START, BuiltWarehouse, Usage

BODY_BYTES = 6_000  # so that an hour of a few lines is too large for one body
LATENCY, READ_TIMEOUT, SETTLE = 0.12, 0.06, 0.3  # seconds: an answer can come too late, but not later than that
PATIENCE = "2s"
TOTALS: Counter[str] = Counter()  # what happened over all schedules; told at the end of the session


def run_loader(environment: dict[str, str], arguments: list[str], output: str) -> None:
    """What one process does: the real command, with a faster clock."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.stdout = sys.stderr = Path(output).open("w", buffering=1, encoding="utf-8")  # noqa: SIM115

    import loader.cloudzero.client
    import loader.delivery.retry
    from loader.cli.main import main

    asked_for = loader.cloudzero.client._retry_after
    loader.delivery.retry.FIRST_WAIT, loader.delivery.retry.MAX_WAIT = 0.004, 0.03
    loader.cloudzero.client._retry_after = lambda value: (asked_for(value) or 0) * 0.01
    _, heard = loader.cloudzero.client.AnyCost.__init__.__defaults__ or ()
    loader.cloudzero.client.AnyCost.__init__.__defaults__ = ((1.0, READ_TIMEOUT), heard)
    main(arguments, prog_name="loader")


@dataclass
class Schedule:
    """A schedule in progress."""

    seed: int
    warehouse: BuiltWarehouse
    anycost: SandboxServer
    trouble: FaultInjector
    folder: Path
    usage: dict[int, list[Usage]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)  # noqa: S311
        self.runs = 0

    def change(self) -> None:
        """What a run of dbt does: new hours, late rows, another name, now and then an hour that loses lines."""
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
        self.told.append(f"changed {sorted(changed)}")

    def step(self) -> None:
        """One thing that can happen to a schedule."""
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
            assert process.exitcode is not None, f"does not end: {self.story()}"
            self.counts[f"exit {process.exitcode}"] += 1
            # 4 would be a refusal, 2 and 3 a mistake of the test, 1 a crash. -15: before the push began.
            assert process.exitcode in (0, 5, 6, -9, -15, 143), f"exit {process.exitcode}: {self.story()}"

    def start(self, *arguments: str) -> ForkServerProcess:
        """Start the loader."""
        self.runs += 1
        output = str(self.folder / f"run_{self.runs}.txt")
        self.told.append(f"run {self.runs}: {' '.join(arguments)}, trouble {self.trouble.rate}")
        process = CONTEXT.Process(
            target=run_loader, args=(self.warehouse.project.environment(), list(arguments), output)
        )
        process.start()
        return process

    def end_well(self) -> None:
        """Without trouble, one run puts everything right, and the next has nothing to do."""
        self.trouble.rate = 0.0
        for run in ("puts everything right", "has nothing to do"):
            bodies = len(self.anycost.sandbox.state()["requests"])
            process = self.start(*self._pending())
            process.join(60)
            assert process.exitcode == 0, f"the run that {run}: {self.story()}"
        assert len(self.anycost.sandbox.state()["requests"]) == bodies, self.story()

    def require_truth(self) -> None:
        """AnyCost holds every hour once, to the last byte, and never saw two requests at a time."""
        found = {hour: each for month in held(self.anycost).values() for hour, each in month["hours"].items()}
        expected = self.warehouse.rows(range(max(self.usage, default=0) + 1))
        for hour, rows in expected.items():
            assert hour in found, f"{hour} is missing: {self.story()}"
            assert found[hour]["rows"] == len(rows), f"{hour}: {self.story()}"
            assert found[hour]["digest"] == sha256(b"\n".join(rows)).hexdigest(), f"{hour}: {self.story()}"
        for hour in set(found) - set(expected):
            assert (found[hour]["rows"], found[hour]["cost"]) == (1, "0"), f"{hour} should be empty: {self.story()}"
        assert self.anycost.sandbox.concurrent_requests_seen == 0, self.story()

    def story(self) -> str:
        """What happened, for the reader of a failure."""
        texts = [f"--- run {n}\n{(self.folder / f'run_{n}.txt').read_text()}" for n in range(1, self.runs + 1)
                 if (self.folder / f"run_{n}.txt").exists()]  # fmt: skip
        requests = [
            f"{each['status']} {each.get('trouble', '')} {each['rows']}"
            for each in self.anycost.sandbox.state()["requests"]
        ]
        return "\n".join([f"seed {self.seed}; again: make torture SEEDS={self.seed}", *self.told, *texts, *requests])

    def _pending(self) -> tuple[str, ...]:
        return ("push", "--window", "pending", *self._options())

    def _options(self) -> tuple[str, ...]:
        return (
            "--allow-shrink", "--max-body-mb", str(BODY_BYTES / 1e6), "--give-up-after", PATIENCE,
            "--settle-for", f"{SETTLE}s", "--lock-timeout", "5s",
        )  # fmt: skip

    def _usage(self, team: str) -> Usage:
        cost = f"{self.random.randrange(10)}.{self.random.randrange(10**18):018}"
        return Usage(team, cost)


def play(seed: int, warehouse: BuiltWarehouse, folder: Path) -> Counter[str]:
    """Play one schedule from its seed; what happened, counted.

    Raises:
        AssertionError: something was lost or counted twice; the message tells how to play it again.
    """
    chance = random.Random(f"trouble {seed}")  # noqa: S311
    kinds = chance.sample(KINDS, chance.randint(1, len(KINDS)))
    trouble = FaultInjector(seed, 0.0, LATENCY, kinds)
    with serve_sandbox(AnyCostSandbox(KEY, Limits(body_bytes=BODY_BYTES), faults=trouble)) as anycost:
        warehouse.project.settings = credentials(anycost)
        schedule = Schedule(seed, warehouse, anycost, trouble, folder)
        for _ in range(chance.randint(2, 6)):
            schedule.change()
            schedule.step()
        schedule.end_well()
        schedule.require_truth()
        schedule.counts.update({f"trouble {kind}": count for kind, count in trouble.counts.items() if count})
        schedule.counts["requests"] += sum(
            1 for each in anycost.sandbox.state()["requests"] if each["method"] == "POST"
        )
        return schedule.counts
