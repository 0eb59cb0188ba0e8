"""Rows of the push log that no push has written are reported in one line by everything that reads the log."""

from __future__ import annotations

from collections.abc import Callable

from loader.config.profiles import read_target
from loader.config.settings import Stream
from loader.delivery import log_check, push_log
from loader.delivery.push_log import PushLog, streams
from loader.errors import ConfigurationError
from loader.service.overview import read_overview
from loader.service.snapshot import read_snapshot
from loader.warehouse.base import Warehouse, open_warehouse
from tests.support.anycost import CONNECTION
from tests.support.warehouse import START, BuiltWarehouse


def test_the_outcomes_are_those_that_a_push_writes() -> None:
    written = (push_log.BEGUN, push_log.ACCEPTED, push_log.REFUSED, push_log.UNKNOWN, push_log.WITHOUT_EFFECT)
    assert written == log_check.OUTCOMES


def test_an_edited_row_is_reported(pushed: BuiltWarehouse) -> None:
    project, stream = pushed.project, Stream(CONNECTION, pushed.project.settings["CLOUDZERO_API_URL"])
    edits = {
        "recorded_at": ("null", "timestamp 'infinity'", "timestamp '1999-01-01 00:00:00'"),
        "usage_hour": ("null", "timestamp 'infinity'", "usage_hour + interval '1 second'"),
        "outcome": ("null", "'sent'", "'Accepted'"),
        "line_count": ("-1",),
        "byte_count": ("-1",),
        "cost_usd": ("'NaN'",) if project.database else (),
        "connection_id": ("null",),
    }

    reads: dict[str, Callable[[Warehouse], object]] = {
        "records": lambda opened: PushLog(opened, stream).records(),
        "last_event": lambda opened: PushLog(opened, stream).last_event(),
        "metrics": lambda opened: read_snapshot(opened, [stream], None),
        "page": lambda opened: read_overview(opened, [stream], START, None),
        "streams": streams,
    }

    def problem(read: str) -> str:
        with open_warehouse(read_target(None, None, project.environment()), 5, print) as opened:
            try:
                reads[read](opened)
            except ConfigurationError as error:
                return str(error)
        return ""

    for read in reads:
        assert problem(read) == ""
    project.write("create table cbf.kept as select * from cbf.push_log")
    for column, values in edits.items():
        for value in values:
            project.write(f"update cbf.push_log set {column} = {value} where sequence = 5")
            for read in ("streams",) if column == "connection_id" else reads:
                assert f"the row with sequence 5 has no valid {column}. Restore" in problem(read), (column, value)
            project.write("delete from cbf.push_log; insert into cbf.push_log select * from cbf.kept")
    project.write("update cbf.push_log set sequence = null where sequence > 4")
    assert "the row with sequence null (and 1 more) has no valid sequence" in problem("last_event")
    project.write("delete from cbf.push_log; insert into cbf.push_log select * from cbf.kept")
    project.write("update cbf.push_log set sequence = 4 where sequence = 5")
    assert "1 row(s) have the sequence of another row" in problem("records")

    for command in (("status",), ("push", "--window", "pending"), ("dry-run", "--window", "pending"), ("reconcile",)):
        outcome = project.loader(*command)
        assert outcome.code == 3, command
        assert outcome.err.startswith("Error: push_log was changed by hand or is damaged"), outcome.err
        assert outcome.err.count("\n") == 1
