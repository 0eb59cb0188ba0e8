"""Everything that the pages show is run: commands, queries, cron lines, the Airflow DAG. World and rules: tests/docs/world.py."""

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
# In an order that a reader could take: nothing is queried or sent that was not built before.
IN_ORDER = tuple(
    ROOT / name
    for name in ("docs/getting-started.md", "docs/spend-logs.md", "docs/operating.md", "docs/reconcile.md",
                 "docs/performance.md", "docs/bucket_drops.md", "docs/upgrading.md")
)  # fmt: skip
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
        # The administrator's part comes first; docs/operating.md repeats it after the build.
        code, said = Reader(world, engine).run(
            "psql --set=ON_ERROR_STOP=1 --dbname=litellm --file=docs/postgres_roles.sql"
        )
        assert code == 0, said
    problems: list[str] = []
    for page in (*IN_ORDER, *(ON_DUCKDB_ONLY if engine == "duckdb" else ())):
        walk(page, started(world, engine, page in FROM_NOTHING), problems)
    assert not problems, "\n\n".join(problems)


def started(world: World, engine: str, from_nothing: bool) -> Reader:
    """A reader who has done what docs/getting-started.md says up to where the page begins."""
    reader = Reader(world, engine)
    if not from_nothing:
        code, said = reader.run(". .venv/bin/activate; set -a; . ./settings.env; . ./secrets.env; set +a")
        assert code == 0, said
    return reader


def walk(page: Path, reader: Reader, problems: list[str]) -> None:
    """Run the blocks of a page in order; each must do what it shows."""
    said: dict[str, str] = {}
    for block in blocks_of(page):
        if block.not_run:
            continue
        if block.output_of:
            if not matches(tuple(block.text.splitlines()), output := said.get(block.output_of, "")):
                problems.append(f"{block}: {block.output_of} said\n{output}")
        elif block.language == SHELL:
            type_in(block, reader, said, problems)
        elif block.language == "cron":
            for line in block.text.splitlines():
                expect(block, line, reader.cron(line), problems)
        elif block.language == "sql":
            reader.world.sql(reader.engine, block.text)
        elif block.language == "python":
            for task in tasks_of(block):
                expect(block, task, Reader(reader.world, reader.engine).run(task), problems)


def type_in(block: Block, reader: Reader, outputs: dict[str, str], problems: list[str]) -> None:
    """Type the commands of a console block; what each says goes into `outputs`, by its text without a comment."""
    for command in commands_of(block):
        if is_elsewhere(command.text):
            continue
        code, said = reader.run(command.text)
        expect(block, command.text, (code, said), problems)
        if code == 0 and command.output and not matches(command.output, said):
            problems.append(f"{block}: {command.text} said\n{said}")
        outputs[command.text.split("  #")[0].strip()] = said


def expect(block: Block, command: str, outcome: tuple[int, str], problems: list[str]) -> None:
    """A command that is shown succeeds."""
    if outcome[0]:
        problems.append(f"{block}: {command} ends with {outcome[0]}\n{outcome[1]}")


def is_elsewhere(command: str) -> bool:
    """`make test` is this."""
    return command.startswith("make test")


def tasks_of(block: Block) -> list[str]:
    """The commands of a DAG, loaded with stand-ins for Airflow's two classes that take the arguments which Airflow's take."""
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

    names = ("airflow", "airflow.sdk", "airflow.providers", "airflow.providers.standard",
             "airflow.providers.standard.operators", "airflow.providers.standard.operators.bash")  # fmt: skip
    modules = {name: ModuleType(name) for name in names}
    modules["airflow.sdk"].DAG = DAG  # type: ignore[attr-defined]
    modules[names[-1]].BashOperator = BashOperator  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        exec(compile(block.text, str(block), "exec"), {})  # noqa: S102
    assert len(tasks) == 2
    return tasks


def test_a_wrong_command_would_be_seen(world: World) -> None:
    code, _ = Reader(world, "duckdb").run("loader push --no-such-option")
    assert code != 0
    assert subprocess.run(["sh", "-c", "exit 3"], check=False).returncode == 3
