"""Warnings about rejected requests and about a glob that matches no file, in every command that shows state."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path

import pytest

from loader.sandbox.server import SandboxServer
from loader.warehouse.source import RejectedRequests, Source, warnings
from tests.support.anycost import credentials
from tests.support.litellm.requests import spend_log
from tests.support.project import Project, put

START = datetime(2026, 11, 20, 9, 30, tzinfo=timezone.utc)
REJECTED = "2 requests ($4) were rejected and not sent: 2 negative_tokens ($4), such as bad-1."


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
    assert source["rejected"] == [{"reason": "negative_tokens", "requests": 2, "cost": "4", "example": "bad-1"}]
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
    rejected = (RejectedRequests("no_start_time", 1, Decimal("2.50"), ""), RejectedRequests("x", 3, Decimal(0), "r"))
    (warning,) = warnings(Source("The table a.b", None, rejected))
    assert warning.startswith(
        "4 requests ($2.5) were rejected and not sent: 1 no_start_time ($2.5); 3 x ($0), such as r."
    )
    assert warnings(Source("The table a.b", None)) == []
