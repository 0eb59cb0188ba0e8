"""Any dbt target: DuckDB through dbt-duckdb and the generic module, compared with the module for DuckDB."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from loader.audit import reconcile
from loader.cli.main import main
from loader.config.profiles import Target, read_target
from loader.config.settings import Stream
from loader.delivery.push_log import ACCEPTED, UNKNOWN, Entry, HourRecord, PushLog, streams
from loader.errors import ConfigurationError
from loader.hours import HOUR, Window
from loader.sandbox.anycost import AnyCostSandbox
from loader.sandbox.server import SandboxServer, serve_sandbox
from loader.service import overview_queries
from loader.warehouse import any_dbt
from loader.warehouse import base as engines
from loader.warehouse.base import Warehouse, open_for_push, open_warehouse
from loader.warehouse.dbt_adapter import error_line
from loader.warehouse.host_lock import host_lock
from loader.warehouse.sql_values import AWKWARD_TEXT, PLACEHOLDER, bound, literal, parsed
from tests.support.anycost import CONNECTION, KEY, credentials, read_back
from tests.support.project import FOREIGN, Project
from tests.support.warehouse import START, BuiltWarehouse, Template, Usage

UTC = timezone.utc
PENDING = ("push", "--window", "pending", "--settle-for", "0s")
NAMES = ("plain", "O''Brien \\ \\\\n", 'say "hi" %s {x} ? ;--', "漢字 é\t")
COSTS = ("0.1", "0", "12.000000000000000001", "0.000000000000000002")
USAGES = [Usage(f"t{n}", cost, name) for n, (name, cost) in enumerate(zip(NAMES, COSTS, strict=True))]
HOURS = dict.fromkeys(range(3), USAGES)


@pytest.fixture
def generic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """A function that makes all engines be used through their dbt adapter."""

    def switch() -> None:
        monkeypatch.setattr(engines, "ENGINES", {})

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return switch


@pytest.fixture
def built(
    template_of: Callable[[str], Template], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, anycost: SandboxServer
) -> BuiltWarehouse:
    """A DuckDB warehouse with awkward names, whose environment this process has."""
    built = template_of("duckdb").copy(tmp_path)
    built.put(HOURS)
    built.project.settings = credentials(anycost)
    # dbt's adapter runs in this process, where a connection that it keeps would exclude the tests' own.
    profiles = built.project.profiles / "profiles.yml"
    profiles.write_text(profiles.read_text().replace("type: duckdb\n", "type: duckdb\n      keep_open: false\n"))
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    for name, value in built.project.environment().items():
        monkeypatch.setenv(name, value)
    return built


def target() -> Target:
    """The target of the environment."""
    return read_target(None, None)


def loader(*arguments: str, code: int = 0) -> Result:
    """Run a command in this process."""
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == code, (result.output, result.exception)
    assert "Traceback" not in result.output
    assert KEY not in result.output
    return result


def seen(warehouse: Warehouse) -> dict[str, Any]:
    """Everything that a push reads."""
    window = Window(START + HOUR, START + 3 * HOUR)
    return {
        "built_at": warehouse.built_at(),
        "hours": warehouse.hours(),
        "hours of a window": warehouse.hours(window),
        "lines": [(line.hour, line.cost, line.data) for line in warehouse.lines()],
        "newest": [line.data for line in warehouse.newest_lines(warehouse.hours(), 2)],
        "unordered": sorted((line.hour, line.cost, line.data) for line in warehouse.unordered_lines(window)),
        "columns": warehouse.column_names("cbf_lines"),
    }


@pytest.mark.usefixtures("built")
def test_it_reads_the_same_bytes_as_the_engines_own_module(generic: Callable[[], None]) -> None:
    with open_warehouse(target(), 5, print) as warehouse:
        fast = seen(warehouse)
    generic()
    with open_warehouse(target(), 5, print) as warehouse:
        assert type(warehouse).__name__ == "DbtWarehouse"
        assert seen(warehouse) == fast
    assert len(fast["lines"]) == 12
    assert len(fast["unordered"]) == 8
    assert any(b"Brien \\\\" in data for *_, data in fast["lines"])


def page(anycost: SandboxServer) -> dict[str, Any]:
    """Everything that the service's page and `reconcile` read from the warehouse."""
    window, stream = Window(START, START + 3 * HOUR), Stream(CONNECTION, anycost.url)
    with open_warehouse(target(), 5, print) as warehouse:
        return {
            "source": overview_queries.summed_spend(warehouse, window),
            "newest": overview_queries.newest_hour(warehouse),
            "series": overview_queries.series(
                warehouse, window, overview_queries.TEAM, overview_queries.TEAM_NAME, "none"
            ),
            "pushes": overview_queries.pushes(warehouse, stream, warehouse.now(), 2),
            "lines": overview_queries.newest_lines(warehouse, warehouse.hours(window)),
            "days": reconcile.days(
                warehouse, reconcile.whole_days(window), PushLog(warehouse, stream).records().values()
            ),
        }


def log_of(built: BuiltWarehouse) -> list[tuple[object, ...]]:
    """The push log without random values and times."""
    return built.log(
        "connection_id, sequence, usage_hour, operation, outcome, fingerprint, line_count, cost_usd, byte_count, detail"
    )


def test_it_sends_and_records_the_same_as_the_engines_own_module(
    built: BuiltWarehouse,
    generic: Callable[[], None],
    anycost: SandboxServer,
    template_of: Callable[[str], Template],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fast, fast_paths = template_of("duckdb").copy(tmp_path / "fast"), engines.ENGINES
    fast.put(HOURS)
    with serve_sandbox(AnyCostSandbox(KEY)) as elsewhere:
        fast.project.settings = credentials(elsewhere)
        done = fast.project.loader(*PENDING)
        assert done.code == 0, done.err
        expected = sorted(map(json.dumps, read_back(elsewhere)))
    generic()
    result = loader(*PENDING)
    assert result.stdout.split(" in ")[0] == done.out.split(" in ")[0]
    assert sorted(map(json.dumps, read_back(anycost))) == expected
    assert log_of(built) == log_of(fast)
    assert len(expected) == 12

    requests = len(anycost.sandbox.state()["requests"])
    again = loader(*PENDING)
    assert (again.stdout, "Nothing to send" in again.stderr) == ("", True)
    assert len(anycost.sandbox.state()["requests"]) == requests
    assert loader("verify", "--month", "2026-10", "--settle-for", "0s").exit_code == 0
    (stream,) = json.loads(loader("status", "--format", "json").stdout)["streams"]
    assert stream["oldest_pending"] is None

    generic_page = page(anycost)
    monkeypatch.setattr(engines, "ENGINES", fast_paths)
    assert page(anycost) == generic_page
    assert generic_page["pushes"]

    # Each module trusts what the other has written, and sends what has changed since.
    built.put({1: [Usage("late", "70")]})
    changed = built.project.loader(*PENDING)
    assert changed.out.startswith("Sent 1 hours, 1 lines")
    clocks = built.project.rows("select min(recorded_at), max(recorded_at) from cbf.push_log")[0]
    assert clocks[1] - clocks[0] < timedelta(hours=1)


def test_awkward_texts_and_amounts_are_read_back_unchanged_from_the_log(
    built: BuiltWarehouse, generic: Callable[[], None]
) -> None:
    generic()
    stream = Stream("it's \\ 'so' \\'", "https://a\\")
    cost = Decimal("12345678901234567890.000000000000000001")
    with open_for_push(target(), stream, 5, 0, print) as warehouse:
        log = PushLog(warehouse, stream)
        log.begin()
        log.append([Entry(START, "f", 1, cost, 2)], "replace_hourly", UNKNOWN, detail=AWKWARD_TEXT)
        log.append([Entry(START, None, 0, Decimal("1E-18"), 0)], "sum", ACCEPTED)
        assert log.records()[START] == HourRecord(ACCEPTED, Entry(START, None, 0, Decimal("0.000000000000000001"), 0))
        assert streams(warehouse) == [stream]
        assert abs((warehouse.now() - datetime.now(UTC)).total_seconds()) < 5
    assert built.log("connection_id, detail, cost_usd")[0] == (stream.connection_id, AWKWARD_TEXT, cost)


@pytest.mark.parametrize(
    ("value", "standard", "escaping"),
    [
        (None, "null", "null"),
        (7, "7", "7"),
        ("a'b", "'a''b'", "'a\\'b'"),
        ("\\' or 1=1 --", "'\\'' or 1=1 --'", "'\\\\\\' or 1=1 --'"),
        ("\\", "'\\'", "'\\\\'"),
        ("a\0b", "'ab'", "'ab'"),
        (Decimal("1E-12"), "cast('0.000000000001' as decimal(38, 18))", "cast('0.000000000001' as decimal(38, 18))"),
        (
            datetime(2026, 11, 1, 1, 30, tzinfo=timezone(timedelta(hours=-4))),
            "cast('2026-11-01 05:30:00.000000' as timestamp)",
            "cast('2026-11-01 05:30:00.000000' as timestamp)",
        ),
    ],
)
def test_literals(value: object, standard: str, escaping: str) -> None:
    assert literal(value, backslash_escapes=False) == standard
    assert literal(value, backslash_escapes=True) == escaping


@pytest.mark.parametrize("value", [True, 0.1, b"x", ["a"], Decimal("NaN"), Decimal("Infinity"), Decimal("1E-19")])
def test_values_without_a_literal_are_rejected(value: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        literal(value, backslash_escapes=False)


def test_values_replace_placeholders_only() -> None:
    assert bound(f"a = {PLACEHOLDER} and '?%s' = {PLACEHOLDER}", ["?", 1], False) == "a = '?' and '?%s' = 1"
    assert bound(f"a = {PLACEHOLDER}", [PLACEHOLDER + "x"], False) == "a = 'x'"
    for values in ([], ["a", "b"]):
        with pytest.raises(ValueError, match="zip"):
            bound(f"a = {PLACEHOLDER}", values, False)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-01 05:30:00", datetime(2026, 11, 1, 5, 30)),  # noqa: DTZ001
        ("2026-11-01T05:30:00.123456789", datetime(2026, 11, 1, 5, 30, 0, 123456)),  # noqa: DTZ001
        ("2026-11-01 05:30:00.5", datetime(2026, 11, 1, 5, 30, 0, 500000)),  # noqa: DTZ001
        ("2026-11-01", datetime(2026, 11, 1)),  # noqa: DTZ001
        ("2026-11-01 05:30:00+00", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        ("2026-11-01 05:30:00 UTC", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
        ("2026-11-01 00:30:00.000 -0500", datetime(2026, 11, 1, 5, 30, tzinfo=UTC)),
    ],
)
def test_timestamps_as_engines_write_them(text: str, moment: datetime) -> None:
    assert parsed(text) == moment
    assert (parsed(text).tzinfo is None) == (moment.tzinfo is None)
    with pytest.raises(ValueError, match="not a timestamp"):
        parsed(text + "!")


def test_an_engine_that_changes_string_literals_is_rejected(
    built: BuiltWarehouse, generic: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    generic()
    monkeypatch.setattr(any_dbt, "literal", lambda *_: "'something else'")
    result = loader("dry-run", code=3)
    assert "returns a string literal changed" in result.stderr
    assert built.log() == []


def test_missing_tables_are_a_one_line_error_and_nothing_is_sent(
    built: BuiltWarehouse, generic: Callable[[], None], anycost: SandboxServer
) -> None:
    built.project.write("drop table cbf.push_log")
    generic()
    result = loader(*PENDING, code=3)
    # Before the error, the push warns that the template has no spend log files.
    (line,) = [each for each in result.stderr.splitlines() if not each.startswith("Warning: ")]
    assert "push_log does not exist" in line
    assert "dbt build" in line
    assert anycost.sandbox.state()["requests"] == []


def test_a_session_that_is_not_in_utc_is_rejected(built: BuiltWarehouse, generic: Callable[[], None]) -> None:
    profile = built.project.profiles / "profiles.yml"
    profile.write_text(profile.read_text().replace("TimeZone: UTC", "TimeZone: Asia/Tokyo"))
    generic()
    assert "time zone to UTC" in loader("dry-run", code=3).stderr


def test_an_adapter_without_a_cursor_is_named(
    built: BuiltWarehouse, generic: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    def none(*_: object, **__: object) -> None:
        raise NotImplementedError

    generic()
    monkeypatch.setattr(DuckDBConnectionManager, "add_query", none)
    assert "dbt-duckdb does not provide a cursor" in loader("dry-run", code=3).stderr
    assert built.log() == []


@pytest.mark.parametrize("command", [("dry-run",), ("status",), ("push", "--window", "pending"), ("check",)])
def test_an_adapter_that_is_not_installed_is_named(command: tuple[str, ...], built: BuiltWarehouse) -> None:
    profile = built.project.profiles / "profiles.yml"
    profile.write_text(profile.read_text().replace("type: duckdb", "type: no_such_engine"))
    result = loader(*command, code=3)
    assert "target 'dev' is of type 'no_such_engine': pip install dbt-no-such-engine" in (
        (result.stdout + result.stderr).replace("Target", "target")
    )
    assert len(result.stderr.strip().splitlines()) <= 1


def test_an_unreachable_database_is_a_one_line_error_without_its_password(
    tmp_path: Path, generic: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)
    profiles = Project(tmp_path).profiles
    given = {"DBT_PROFILES_DIR": str(profiles), "DBT_TARGET": "postgres", "PGHOST": "127.0.0.1", "PGPORT": "9"}
    for name, value in (given | {"PGPASSWORD": "hunter2secret"}).items():
        monkeypatch.setenv(name, value)
    generic()
    result = loader("dry-run", code=3)
    assert result.stdout == ""
    (line,) = result.stderr.strip().splitlines()
    assert "could not reach" in line or "could not read" in line
    assert "refused" in line
    assert "hunter2secret" not in line


def test_error_lines_of_dbt_contain_no_secret() -> None:
    options = {"type": "x", "password": 12345, "extra": {"api_token": ["t0p", ""]}, "schema": "cbf"}
    error = RuntimeError("Database Error\n")
    error.msg = "Runtime Error\n  Database Error\n  12345 is not of type 'string', nor t0p in cbf.\n  more"  # type: ignore[attr-defined]
    assert error_line(error, Target("t", "x", "cbf", options)) == "*** is not of type 'string', nor *** in cbf"
    assert error_line(ValueError(), Target("t", "x", "cbf", {})) == "ValueError"


def test_one_push_at_a_time_on_a_host(
    built: BuiltWarehouse, generic: Callable[[], None], anycost: SandboxServer
) -> None:
    generic()
    with open_for_push(target(), Stream(CONNECTION, anycost.url), 5, 0, print):
        assert "Another push to conn-1" in loader(*PENDING, code=6).stderr
        with open_for_push(target(), Stream("other", anycost.url), 5, 0, print):
            pass
    assert loader(*PENDING).stdout.startswith("Sent 3 hours")
    assert len(built.log()) > 0


def test_a_waiting_push_continues_when_the_other_has_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    first, messages = ExitStack(), list[str]()
    first.enter_context(host_lock("name", "s", 0, print))

    def release(message: str) -> None:
        messages.append(message)
        first.close()

    with host_lock("name", "s", 60, release):
        assert messages == ["Waiting for another push to s."]


def test_a_lock_file_that_cannot_be_created_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="set XDG_STATE_HOME"), host_lock("name", "s", 0, print):
        pass


def test_it_connects_at_the_first_statement(built: BuiltWarehouse, generic: Callable[[], None]) -> None:
    """`loader run` holds the lock while dbt runs, and dbt on Spark could not open the metastore beside another session."""
    generic()
    built.project.duckdb_file.unlink()
    with open_for_push(target(), Stream("s", "https://a"), 5, 0, print):
        pass
    assert not built.project.duckdb_file.exists()
    loader("dry-run", code=3)
