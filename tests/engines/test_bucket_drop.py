"""`loader drop` to a folder and to a local S3: what is written, what is rejected, and the state after a kill."""

from __future__ import annotations

import csv
import gzip
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import boto3
import pytest
import requests
from moto.server import ThreadedMotoServer

from loader.bucket.drop import current_drop, write_drop
from loader.bucket.store import FolderStore, open_store
from loader.config.profiles import read_target
from loader.errors import ConfigurationError, StoppedError
from loader.hours import month_named
from loader.progress import Bar
from loader.stopping import StopSignal
from loader.warehouse.base import open_warehouse
from tests.support.project import ROOT
from tests.support.warehouse import BuiltWarehouse, Template, Usage

OCTOBER, NOVEMBER = month_named("2026-10"), month_named("2026-11")
NOW = datetime(2026, 11, 24, 12, 0, 5, tzinfo=timezone.utc)
AWKWARD = ('say "no", please', "two\nlines\r\nand\ta tab", "Grüße 北京 🤖", "=1+1", " spaces ", "it''s; a/b\\c")


SIX_HOURS = {n: [Usage("a", f"{n}.25"), Usage("b", "0.000000000000000001", "B")] for n in range(6)}


@pytest.fixture
def four_hours(tmp_path: Path, template_of: Callable[[str], Template]) -> BuiltWarehouse:
    """A DuckDB file whose hours 0 to 3 are the last of October, 4 and 5 of November."""
    warehouse = template_of("duckdb").copy(tmp_path)
    warehouse.put(SIX_HOURS)
    return warehouse


def write(warehouse: BuiltWarehouse, folder: Path, **options: Any) -> Any:
    """Write October as the command does."""
    target = read_target(None, None, warehouse.project.environment())
    with open_warehouse(target, 30, print) as opened:
        return write_drop(opened, FolderStore(folder), OCTOBER, NOW, StopSignal(), Bar(), **options)


def lines_of(folder: Path, month: str) -> list[dict[str, str]]:
    """The lines of the current drop, read without the loader."""
    drop_id = json.loads((folder / month / "manifest.json").read_text())["current_drop_id"]
    found: list[dict[str, str]] = []
    for part in sorted((folder / month / drop_id).iterdir()):
        with gzip.open(part, "rt", encoding="utf-8", newline="") as file:
            found += list(csv.DictReader(file))
    return found


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_month_is_written_in_cloudzeros_layout(warehouse: BuiltWarehouse, tmp_path: Path) -> None:
    warehouse.put(SIX_HOURS | {1: [Usage(f"t{n}", "0.10", alias) for n, alias in enumerate(AWKWARD)]})
    out = tmp_path / "bucket"
    done = warehouse.project.loader("drop", "--month", "2026-10", "--out", str(out))
    assert (done.code, done.out) == (0, "")
    assert "12 lines, $" in done.err
    manifest = json.loads((out / "20261001-20261101/manifest.json").read_text())
    assert manifest == {"version": "1.3.0", "current_drop_id": manifest["current_drop_id"]}
    datetime.strptime(manifest["current_drop_id"], "%Y%m%dT%H%M%SZ")  # noqa: DTZ007
    assert everything_in(out) == [
        f"20261001-20261101/{manifest['current_drop_id']}/cbf-00000.csv.gz",
        "20261001-20261101/manifest.json",
    ]
    lines = lines_of(out, "20261001-20261101")
    # The same values as in the view; missing ones are empty.
    sent = [json.loads(row) for rows in warehouse.rows(range(4)).values() for row in rows]
    assert sorted(sorted(row.items()) for row in sent) == sorted(
        sorted((name, value) for name, value in line.items() if value) for line in lines
    )
    assert {line["resource/tag:team_alias"] for line in lines} >= {alias.replace("''", "'") for alias in AWKWARD}
    checked = warehouse.project.loader("drop", "--month", "2026-10", "--out", str(out), "--check")
    assert (checked.code, checked.out) == (0, "")
    assert "12 lines; every complete hour is equal" in checked.err
    assert warehouse.log() == []


def test_parts_have_at_most_the_allowed_rows_and_are_reproducible(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    drops = [write(four_hours, tmp_path / name, part_rows=3) for name in ("one", "two")]
    assert [len(drop.parts) for drop in drops] == [3, 3]
    assert drops[0].cost == Decimal("7.000000000000000004")
    folder = tmp_path / "one/20261001-20261101" / drops[0].drop_id
    sizes = []
    for part in sorted(folder.iterdir()):
        with gzip.open(part, "rt") as file:
            sizes.append(len(list(csv.DictReader(file))))
        assert part.read_bytes() == (tmp_path / "two/20261001-20261101" / drops[1].drop_id / part.name).read_bytes()
    assert sizes == [3, 3, 2]
    assert sum(Decimal(line["cost/cost"]) for line in lines_of(tmp_path / "one", "20261001-20261101")) == drops[0].cost


def test_a_month_without_lines_is_not_erased(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    out = tmp_path / "bucket"
    done = four_hours.project.loader("drop", "--month", "2026-09", "--out", str(out))
    assert (done.code, done.err.count("\n")) == (6, 1)
    assert "would erase the month" in done.err
    assert everything_in(out) == []


def test_an_incomplete_hour_is_left_out_unless_requested(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    four_hours.put({}, 0)
    four_hours.project.write("update cbf.cbf_as_of set built_at = timestamp '2026-10-31 23:30:00'")
    out = ("--out", str(tmp_path / "bucket"), "--month", "2026-10")
    done = four_hours.project.loader("drop", *out, "--format", "json")
    assert done.code == 0
    assert json.loads(done.out)["incomplete_hours_left_out"] == 1
    assert json.loads(done.out)["lines"] == 6
    assert "Left out: 1 hour(s) that are not complete" in done.err
    assert (
        json.loads(four_hours.project.loader("drop", *out, "--include-incomplete", "--format", "json").out)["lines"]
        == 8
    )


def test_a_lower_cost_is_rejected_and_the_previous_drop_stays_current(
    four_hours: BuiltWarehouse, tmp_path: Path
) -> None:
    out = tmp_path / "bucket"
    command = ("drop", "--month", "2026-10", "--out", str(out))
    assert four_hours.project.loader(*command).code == 0
    before = everything_in(out)
    # More in one hour does not make up for less in another.
    four_hours.put({1: [Usage("a", "0.25")], 2: [Usage("a", "100.00")]})
    refused = four_hours.project.loader(*command)
    assert (refused.code, refused.err.count("\n")) == (6, 1)
    assert "1 hour(s) of 2026-10 cost less" in refused.err
    assert "--allow-shrink" in refused.err
    assert everything_in(out) == before
    differs = four_hours.project.loader(*command, "--check", "--format", "json")
    assert differs.code == 6
    assert [each["hour"][11:13] for each in json.loads(differs.out)["differences"]] == ["21", "22"]
    assert four_hours.project.loader(*command, "--allow-shrink").code == 0
    assert len(everything_in(out)) == len(before) + 1
    assert four_hours.project.loader(*command, "--check").code == 0


def test_check_finds_changed_missing_and_corrupt_parts(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    out = tmp_path / "bucket"
    command = ("drop", "--month", "2026-10", "--out", str(out), "--check")
    nothing = four_hours.project.loader(*command)
    assert (nothing.code, "There is no drop of 2026-10" in nothing.err) == (3, True)
    drop = write(four_hours, out, part_rows=4)
    first, second = (out / name for name in drop.parts)
    whole = first.read_bytes()
    for data, code, words in (
        (gzip.compress(gzip.decompress(whole).replace(b"1.25", b"1.26")), 6, "differs from the view in 1 hour"),
        (gzip.compress(gzip.decompress(whole).replace(b"1.25", b"lots")), 3, "cannot be read"),
        (whole[: len(whole) // 2], 3, "cannot be read"),
        (b"not gzip", 3, "cannot be read"),
    ):
        first.write_bytes(data)
        found = four_hours.project.loader(*command)
        assert (found.code, words in found.err.splitlines()[-1]) == (code, True), found.err
        assert "Traceback" not in found.err
    first.unlink()
    lost = four_hours.project.loader(*command)
    assert (lost.code, "in 2 hour(s)" in lost.err) == (6, True)
    second.unlink()
    assert "has no parts" in four_hours.project.loader(*command).err
    (out / "20261001-20261101/manifest.json").write_text("[]")
    assert "is not a valid manifest" in four_hours.project.loader(*command).err


def test_lines_that_do_not_match_cbf_hours_are_not_published(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    out = tmp_path / "bucket"
    four_hours.project.write("update cbf.int_usage__hourly set cost_usd = cost_usd + 1 where team_id = 'a'")
    done = four_hours.project.loader("drop", "--month", "2026-10", "--out", str(out))
    assert (done.code, "disagree on the hour" in done.err) == (6, True)
    assert everything_in(out) == []


def test_a_requested_stop_leaves_the_manifest_unchanged(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    out = tmp_path / "bucket"
    write(four_hours, out)
    before = (out / "20261001-20261101/manifest.json").read_bytes()
    stop = StopSignal()

    class StoppingBar(Bar):
        def advance(self, lines: int) -> None:
            stop.set(lines and signal.SIGTERM)

    target = read_target(None, None, four_hours.project.environment())
    with open_warehouse(target, 30, print) as opened, pytest.raises(StoppedError, match="manifest was not changed"):
        write_drop(opened, FolderStore(out), OCTOBER, NOW, stop, StoppingBar())
    assert (out / "20261001-20261101/manifest.json").read_bytes() == before
    assert len(everything_in(out)) == 2


def test_a_killed_process_leaves_the_previous_drop_current(
    tmp_path: Path, template_of: Callable[[str], Template]
) -> None:
    warehouse = template_of("duckdb").copy(tmp_path)
    warehouse.put({n: [Usage(f"t{team}", f"{n}.5") for team in range(40)] for n in range(4)})
    out = tmp_path / "bucket"
    first = write(warehouse, out)
    # With one row per part there are many parts; the process is killed after the first few.
    script = (
        "import loader.bucket.drop as b; from loader.cli.main import main;"
        "b.write_drop.__kwdefaults__ = None; d = list(b.write_drop.__defaults__); d[-1] = 1;"
        "b.write_drop.__defaults__ = tuple(d);"
        f"main(['drop', '--month', '2026-10', '--out', {str(out)!r}])"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=warehouse.project.environment())
    while len(everything_in(out)) < 8:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert current_drop(FolderStore(out), OCTOBER) == first.drop_id
    assert len(everything_in(out)) < 160
    assert warehouse.project.loader("drop", "--month", "2026-10", "--out", str(out), "--check").code == 0
    # The same command then writes the whole drop, with a new id.
    assert warehouse.project.loader("drop", "--month", "2026-10", "--out", str(out)).code == 0
    assert current_drop(FolderStore(out), OCTOBER) != first.drop_id
    assert len(lines_of(out, "20261001-20261101")) == 160


def test_a_folder_that_is_not_writable_is_named(four_hours: BuiltWarehouse, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for out, code, words in (
        (str(tmp_path / "file"), 3, "cannot be used"),
        ("gs://bucket", 2, "neither a folder nor an s3:// URL"),
    ):
        done = four_hours.project.loader("drop", "--month", "2026-10", "--out", out)
        assert (done.code, done.err.count("\n")) == (code, 1), done.err
        assert words in done.err
    wrong = four_hours.project.loader("drop", "--month", "October", "--out", str(tmp_path))
    assert (wrong.code, "is not a valid month" in wrong.err) == (2, True)


@pytest.fixture
def s3(four_hours: BuiltWarehouse) -> Iterator[Any]:
    """A local S3 with a bucket, which the project's commands use."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_REGION": "us-east-1",
        "AWS_SECRET_ACCESS_KEY": "secret-must-not-show",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": "/nonexistent",
        "AWS_MAX_ATTEMPTS": "1",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
    }
    four_hours.project.settings |= settings
    client = boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106
    )
    requests.post(
        f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", timeout=10
    )  # it keeps the state of the previous test
    client.create_bucket(Bucket="bills")
    yield client
    server.stop()


def test_s3_gets_the_same_bytes_as_a_folder(four_hours: BuiltWarehouse, s3: Any, tmp_path: Path) -> None:
    command = ("drop", "--month", "2026-10", "--out", "s3://bills/anycost/litellm/")
    missing = four_hours.project.loader(*command, "--check")
    assert (missing.code, "There is no drop" in missing.err) == (3, True)
    assert four_hours.project.loader(*command).code == 0
    assert four_hours.project.loader(*command, "--check").code == 0
    local = write(four_hours, tmp_path)
    keys = [each["Key"] for each in s3.list_objects_v2(Bucket="bills")["Contents"]]
    assert len(keys) == 2
    root = "anycost/litellm/20261001-20261101"
    manifest = json.loads(s3.get_object(Bucket="bills", Key=f"{root}/manifest.json")["Body"].read())
    part = s3.get_object(Bucket="bills", Key=f"{root}/{manifest['current_drop_id']}/cbf-00000.csv.gz")["Body"].read()
    assert part == (tmp_path / local.parts[0]).read_bytes()
    # For the second drop, the guard reads the first one back from S3.
    four_hours.put({1: [Usage("a", "0.25")]})
    assert four_hours.project.loader(*command).code == 6
    assert four_hours.project.loader(*command, "--allow-shrink").code == 0
    assert len(s3.list_objects_v2(Bucket="bills")["Contents"]) == 3


def test_an_error_of_s3_is_one_line(four_hours: BuiltWarehouse, s3: Any) -> None:
    command = ("drop", "--month", "2026-10", "--out")
    no_bucket = four_hours.project.loader(*command, "s3://no-such-bucket/x")
    no_login = four_hours.project.loader(*command, "s3://bills", AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    unreachable = four_hours.project.loader(*command, "s3://bills", AWS_ENDPOINT_URL="http://127.0.0.1:9")
    no_scheme = four_hours.project.loader(*command, "s3://bills", AWS_ENDPOINT_URL="localhost:9000")
    for done, words in (
        (no_bucket, "NoSuchBucket"),
        (no_login, "credentials"),
        (unreachable, "127.0.0.1:9"),
        (no_scheme, "Invalid endpoint: localhost:9000"),
    ):
        assert (done.code, done.out, done.err.count("\n")) == (3, "", 1), done.err
        assert words in done.err
        assert "must-not-show" not in done.err
    assert "Contents" not in s3.list_objects_v2(Bucket="bills")


def test_a_full_disk_is_reported_when_writing_to_s3(
    four_hours: BuiltWarehouse, s3: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in four_hours.project.settings.items():
        monkeypatch.setenv(name, value)
    store = open_store("s3://bills/x")
    with store.part("whole") as file:
        file.write(b"x")
    # A device that is always full.
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    with pytest.raises(ConfigurationError, match="cannot store a part of the drop: No space left on device"):
        store.open("whole")
    with (
        pytest.raises(ConfigurationError, match="cannot store a part of the drop: No space left on device"),
        store.part("new") as file,
    ):
        file.write(b"x")
    assert [each["Key"] for each in s3.list_objects_v2(Bucket="bills")["Contents"]] == ["x/whole"]


def test_a_missing_boto3_is_named_with_the_command_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(ConfigurationError, match=r"\(boto3\): pip install '\.\[s3\]'"):
        open_store("s3://bills/x")
