"""Runs what the pages show: commands, queries, cron lines, the Airflow DAG. See tests/docs/world.py for the rules."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.docs.blocks import ROOT, Block, blocks_of, commands_of, matches
from tests.docs.world import Reader, World, machine

FROM_NOTHING = (ROOT / "docs/getting-started.md", ROOT / "README.md")
# In this order, everything is built before it is queried or sent.
IN_ORDER = tuple(
    ROOT / name
    for name in (
        "docs/getting-started.md",
        "docs/spend-logs.md",
        "docs/operating.md",
        "docs/reconcile.md",
        "docs/performance.md",
        "docs/bucket_drops.md",
        "docs/upgrading.md",
    )
)
ON_DUCKDB_ONLY = (ROOT / "README.md", ROOT / "docs/deployment.md")
SHELL = "console"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One machine for all pages."""
    with machine(tmp_path_factory.mktemp("docs")) as made:
        yield made


def test_no_page_is_forgotten() -> None:
    run = {*IN_ORDER, *ON_DUCKDB_ONLY}
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        needed = [block for block in blocks_of(page) if block.language in ("console", "sql", "cron", "python")]
        assert page in run or all(block.not_run for block in needed), page


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_pages(world: World, engine: str) -> None:
    if engine == "postgres":
        # The administrator creates the roles first; docs/operating.md repeats it after the build.
        code, output = Reader(world, engine).run(
            "psql --set=ON_ERROR_STOP=1 --dbname=litellm --file=docs/postgres_roles.sql"
        )
        assert code == 0, output
    problems: list[str] = []
    for page in (*IN_ORDER, *(ON_DUCKDB_ONLY if engine == "duckdb" else ())):
        walk(page, started(world, engine, page in FROM_NOTHING), problems)
    assert not problems, "\n\n".join(problems)


def started(world: World, engine: str, from_nothing: bool) -> Reader:
    """A reader of a page, with the settings of docs/getting-started.md unless the page starts from nothing."""
    reader = Reader(world, engine)
    if not from_nothing:
        code, output = reader.run(". .venv/bin/activate; set -a; . ./settings.env; . ./secrets.env; set +a")
        assert code == 0, output
    return reader


def walk(page: Path, reader: Reader, problems: list[str]) -> None:
    """Run the blocks of a page in order, and compare the output with what is shown."""
    outputs: dict[str, str] = {}
    for block in blocks_of(page):
        if block.not_run:
            continue
        if block.output_of:
            output = outputs.get(block.output_of, "")
            if not matches(tuple(block.text.splitlines()), output):
                problems.append(f"{block}: {block.output_of} printed\n{output}")
        elif block.language == SHELL:
            type_in(block, reader, outputs, problems)
        elif block.language == "cron":
            for line in block.text.splitlines():
                expect(block, line, reader.cron(line), problems)
        elif block.language == "sql":
            reader.world.sql(reader.engine, block.text)
        elif block.language == "python":
            for task in tasks_of(block):
                expect(block, task, Reader(reader.world, reader.engine).run(task), problems)


def type_in(block: Block, reader: Reader, outputs: dict[str, str], problems: list[str]) -> None:
    """Run the commands of a console block; `outputs` gets the output of each, by its text without a comment."""
    for command in commands_of(block):
        if is_this_suite(command.text):
            continue
        code, output = reader.run(command.text)
        expect(block, command.text, (code, output), problems)
        if code == 0 and command.output and not matches(command.output, output):
            problems.append(f"{block}: {command.text} printed\n{output}")
        outputs[command.text.split("  #")[0].strip()] = output


def expect(block: Block, command: str, outcome: tuple[int, str], problems: list[str]) -> None:
    """A command that is shown succeeds."""
    if outcome[0]:
        problems.append(f"{block}: {command} ends with {outcome[0]}\n{outcome[1]}")


def is_this_suite(command: str) -> bool:
    """Whether the command runs these tests."""
    return command.startswith("make test")


def tasks_of(block: Block) -> list[str]:
    """The commands of a DAG, loaded with stand-ins for two classes of Airflow that accept the same arguments."""
    tasks: list[str] = []

    class DAG:
        def __init__(self, dag_id: str, *, schedule: str, catchup: bool, max_active_runs: int) -> None:
            assert dag_id and schedule and not catchup and max_active_runs == 1

        def __enter__(self) -> DAG:
            return self

        def __exit__(self, *_: object) -> None:
            pass

    class BashOperator:
        def __init__(self, *, task_id: str, bash_command: str, skip_on_exit_code: int | None = 99) -> None:
            self.task_id, self.bash_command, self.skip_on_exit_code = task_id, bash_command, skip_on_exit_code

        def __rshift__(self, other: BashOperator) -> BashOperator:
            tasks.extend([self.bash_command, other.bash_command])
            return other

    names = (
        "airflow",
        "airflow.sdk",
        "airflow.providers",
        "airflow.providers.standard",
        "airflow.providers.standard.operators",
        "airflow.providers.standard.operators.bash",
    )
    modules = {name: ModuleType(name) for name in names}
    modules["airflow.sdk"].DAG = DAG  # type: ignore[attr-defined]
    modules[names[-1]].BashOperator = BashOperator  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        exec(compile(block.text, str(block), "exec"), {})  # noqa: S102
    assert len(tasks) == 2
    return tasks


def test_a_failing_command_is_detected(world: World) -> None:
    code, _ = Reader(world, "duckdb").run("loader push --no-such-option")
    assert code != 0
    assert subprocess.run(["sh", "-c", "exit 3"], check=False).returncode == 3
