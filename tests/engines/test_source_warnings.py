"""Warnings about rejected requests and about a glob that matches no file, in every command that shows state."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from loader.sandbox.server import SandboxServer
from loader.warehouse.source import ReportedRequests, Source, warnings
from tests.support.anycost import credentials
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

START = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
REJECTED = "2 requests ($4) were rejected and not sent: 2 negative_tokens ($4), such as bad-1"


def test_rejected_requests_are_reported_until_they_are_corrected(project: Project, anycost: SandboxServer) -> None:
    good = spend_log("good", START)
    bad = [spend_log(f"bad-{n}", START, prompt_tokens=-1, spend=2.0) for n in (1, 2)]
    put(project, [good, *bad])
    project.settings = credentials(anycost)
    run = project.loader("run", "--settle-for", "0s")
    assert (run.code, run.err.count(f"Warning: {REJECTED}")) == (0, 1), run.err
    assert "Sent 1 hours, 1 lines" in run.out
    assert f"Warning: {REJECTED}" in project.loader("push", "--window", "pending").err
    assert f"Warning: {REJECTED}" in project.loader("status").err
    source = json.loads(project.loader("status", "--format", "json").out)["source"]
    assert (source["rejected_requests"], source["rejected_cost"]) == (2, "4")
    (reason,) = source["rejected"]
    file = reason.pop("file")
    assert file == "" if project.database else file.startswith(str(project.logs))
    assert reason == {"reason": "negative_tokens", "requests": 2, "cost": "4", "example": "bad-1"}
    assert source["rejected_files"] == []
    (check,) = [line for line in project.loader("check").out.splitlines() if line.startswith("source")]
    assert "WARNING" in check
    assert REJECTED in check
    put(project, [good])
    assert "Warning" not in project.loader("run", "--settle-for", "0s").err
    assert json.loads(project.loader("status", "--format", "json").out)["source"]["rejected_requests"] == 0


def test_a_glob_that_matches_nothing_is_reported(tmp_path: Path, anycost: SandboxServer) -> None:
    project = Project(tmp_path)
    project.settings = credentials(anycost) | {"LITELLM_SPEND_LOGS": f"{tmp_path}/exports/*.parquet"}
    run = project.loader("run", "--settle-for", "0s")
    assert run.code == 0
    message = f"LITELLM_SPEND_LOGS={tmp_path}/exports/*.parquet do not exist: the glob matches no file"
    assert message in run.err
    assert message in project.loader("status").err
    assert message in project.loader("check").out


def test_a_file_of_which_every_request_is_rejected_fails_the_run(tmp_path: Path, anycost: SandboxServer) -> None:
    project = Project(tmp_path)
    project.settings = credentials(anycost)
    put(project, [spend_log("good", START)])
    # One rejected request in a file with good ones, and one in a file of its own, as LiteLLM's S3 logger writes it.
    mixed = [spend_log("fine", START), spend_log("bad", START, prompt_tokens=-1)]
    (project.logs / "mixed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in mixed))
    (project.logs / "object.json").write_text(json.dumps(spend_log("one", START, prompt_tokens=-1)))
    run = project.loader("run", "--settle-for", "0s")
    assert run.code == 0, run.err
    # Every command says what the file is; the others are sent.
    bad = [spend_log(f"bad-{n}", START, spend=2.0) for n in (1, 2)]
    for row in bad:
        row["begun"] = row.pop("startTime")
    (project.logs / "keys.jsonl").write_text("".join(json.dumps(row) + "\n" for row in bad))
    (project.logs / "late.jsonl").write_text(json.dumps(spend_log("late", START)) + "\n")
    run = project.loader("run", "--settle-for", "0s")
    assert run.code == 3
    assert "Sent 1 hours, 1 lines" in run.out
    rejected = f"1 spend log file was rejected as a whole: {project.logs}/keys.jsonl (2 no_start_time, $4)."
    assert rejected in run.err.splitlines()[-1]
    check = project.loader("check")
    assert check.code == 3
    assert rejected in check.out
    (file,) = json.loads(project.loader("status", "--format", "json").out)["source"]["rejected_files"]
    assert file == {"file": f"{project.logs}/keys.jsonl", "requests": 2, "cost": "4", "reason": "no_start_time"}
    load = project.loader("load")
    assert load.code == 3
    assert rejected in load.err
    build = project.build(tests=True, ok=False)
    assert build.code == 1
    assert "Failure in test assert_no_file_is_rejected" in build.out
    explained = (
        f"Error: no request of the spend log file {project.logs}/keys.jsonl was accepted (2 no_start_time). To fix:"
    )
    assert explained in build.out
    assert explained in project.dbt("--quiet", "test", "--select", "assert_no_file_is_rejected", ok=False).out
    assert "PASS" in build.out
    (project.logs / "keys.jsonl").unlink()
    assert project.loader("run", "--settle-for", "0s").code == 0
    assert project.build(tests=True).code == 0


def test_a_file_with_accepted_requests_before_the_window_is_not_rejected(tmp_path: Path) -> None:
    project = Project(tmp_path)
    old = [spend_log("old", START - timedelta(days=10)), spend_log("lost", START) | {"startTime": None}]
    put(project, old)
    (project.logs / "new.jsonl").write_text(json.dumps(spend_log("new", START)) + "\n")
    for _ in range(2):
        project.build()
        assert project.rows("select file_is_rejected from cbf.int_usage__rejected_hours") == [(False,)]


def test_the_example_of_a_reason_is_in_the_file_that_is_named(tmp_path: Path) -> None:
    project = Project(tmp_path)
    for name, request in (("a", "z-1"), ("b", "a-1")):
        (project.logs / f"{name}.json").write_text(json.dumps(spend_log(request, START, prompt_tokens=-1)))
    (project.logs / "good.json").write_text(json.dumps(spend_log("good", START)))
    (project.logs / "text.jsonl").write_text('{"request_id": "cut\n')
    project.build()
    warnings_printed = project.loader("dry-run").err
    assert f"2 negative_tokens ($0.004), such as z-1 in {project.logs}/a.json;" in warnings_printed
    assert f"1 not_json ($0), such as one in {project.logs}/text.jsonl." in warnings_printed


def test_all_requests_rejected_fails_the_run_whatever_the_files(tmp_path: Path, anycost: SandboxServer) -> None:
    project = Project(tmp_path)
    project.settings = credentials(anycost)
    for n in (1, 2):
        (project.logs / f"{n}.json").write_text(json.dumps(spend_log(f"r{n}", START, spend=None)))
    run = project.loader("run", "--settle-for", "0s")
    assert run.code == 3
    assert "2 spend log files were rejected as a whole" in run.err


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("a/*.csv,b/*.csv", "takes one glob, not a list"),
        ("~/logs/*", "starts with ~"),
        ("/tmp", "It is a folder: write /tmp/*"),  # noqa: S108
        ("/nowhere/file.csv", "There is no such file"),
        ("exports/*.parquet", "relative to the folder in which dbt runs"),
    ],
)
def test_the_warning_says_what_is_wrong_with_the_glob(path: str, hint: str) -> None:
    (warning,) = warnings(Source(f"The files of LITELLM_SPEND_LOGS={path}", 0))
    assert hint in warning


def test_several_reasons_and_a_reason_without_an_id() -> None:
    rejected = (ReportedRequests("no_start_time", 1, Decimal("2.50"), ""), ReportedRequests("x", 3, Decimal(0), "r"))
    (warning,) = warnings(Source("The table a.b", None, rejected))
    assert warning.startswith(
        "4 requests ($2.5) were rejected and not sent: 1 no_start_time ($2.5); 3 x ($0), such as r."
    )
    assert warnings(Source("The table a.b", None)) == []
