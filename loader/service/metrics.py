"""Prometheus metrics. deploy/prometheus/alerts.yml and docs/service.md use these names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from decimal import Decimal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from loader.config.settings import Stream
from loader.delivery.limits import MONTH_BYTES, MONTH_ROWS
from loader.delivery.retry import Sent
from loader.hours import HOUR
from loader.service.snapshot import SnapshotCache

OK, FAILED, LOCKED = OUTCOMES = ("ok", "failed", "locked")
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Counters of this process and gauges from the warehouse. Money is a Decimal until it is exposed."""

    def __init__(self, snapshots: SnapshotCache, streams: Sequence[Stream]) -> None:
        self._snapshots = snapshots
        self._has_stream = bool(streams)
        self._lock = threading.Lock()
        self._finished = Sent()
        self._in_progress: list[Sent] = []
        self._runs: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._statuses: Counter[str] = Counter()
        self._started = datetime.now(timezone.utc)
        self._last_run: datetime | None = None
        self._last_success: datetime | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        self._snapshots.refresh()
        return generate_latest(self._registry)

    @contextmanager
    def sending(self) -> Iterator[Sent]:
        """The counts of one push, exposed while it is in progress, because a first push takes long."""
        sent = Sent()
        with self._lock:
            self._in_progress.append(sent)
        try:
            yield sent
        finally:
            with self._lock:
                self._in_progress.remove(sent)
                _add(self._finished, sent)

    def record_run(self, outcome: str, at: datetime) -> None:
        """Count a run that ended with one of OUTCOMES at this time (UTC)."""
        with self._lock:
            self._runs[outcome] += 1
            self._last_run = at
            if outcome == OK:
                self._last_success = at

    def answered(self, status: str) -> None:
        """Count a request to AnyCost by the status of its response; `none` if there was none."""
        with self._lock:
            self._statuses[status] += 1

    def describe(self) -> list[Metric]:
        """Empty, so that registering the collector does not read the warehouse."""
        return []

    def collect(self) -> Iterator[Metric]:
        """The metrics, for one scrape."""
        with self._lock:
            sent = Sent()
            for each in [self._finished, *self._in_progress]:
                _add(sent, each)
            runs, statuses = dict(self._runs), dict(self._statuses)
            last_run, last_success = self._last_run, self._last_success
        yield _counter("litellm_cbf_sent_cost_usd", "Cost in US dollars of the lines that AnyCost accepted", sent.cost)
        yield _counter("litellm_cbf_sent_lines", "Lines that AnyCost accepted", sent.lines)
        yield _counter("litellm_cbf_sent_bytes", "Bytes of the request bodies that AnyCost accepted", sent.bytes)
        yield _labelled("litellm_cbf_runs", "Scheduled runs of dbt and push, by outcome", "outcome", runs)
        yield _labelled("litellm_cbf_anycost_requests", "Requests to AnyCost, by response status", "status", statuses)
        # For alerts, as long as no run has succeeded.
        yield from _moment("litellm_cbf_started_timestamp_seconds", "When this process started", self._started)
        yield from _moment("litellm_cbf_last_run_timestamp_seconds", "When the last run ended", last_run)
        yield from _moment(
            "litellm_cbf_last_success_timestamp_seconds", "When the last successful run ended", last_success
        )
        yield from self._from_warehouse()

    def _from_warehouse(self) -> Iterator[Metric]:
        yield _gauge("litellm_cbf_month_limit_bytes", "Largest size in bytes of a month in a stream", MONTH_BYTES)
        yield _gauge("litellm_cbf_month_limit_rows", "Largest number of lines of a month in a stream", MONTH_ROWS)
        snapshot = self._snapshots.snapshot
        if snapshot is None:
            return
        built = "When the last dbt run that summed usage started"
        yield from _moment("litellm_cbf_models_built_timestamp_seconds", built, snapshot.built_at)
        source = snapshot.source
        yield _gauge(
            "litellm_cbf_rejected_requests", "Requests that are rejected and so in no line", source.rejected_count
        )
        yield _gauge(
            "litellm_cbf_rejected_cost_usd", "Cost in US dollars of those requests", float(source.rejected_cost)
        )
        yield _gauge("litellm_cbf_warned_requests", "Requests that are counted with a warning", source.warned_count)
        yield _gauge(
            "litellm_cbf_merged_spend_logs",
            "Spend logs that are merged into another one of the same request",
            source.merged_count,
        )
        yield _gauge("litellm_cbf_merged_cost_usd", "Cost in US dollars of those spend logs", float(source.merged_cost))
        if source.files is not None:
            yield _gauge("litellm_cbf_spend_log_files", "Spend log files that the last dbt run found", source.files)
        if not self._has_stream:
            return
        age = (datetime.now(timezone.utc) - snapshot.pending[0] - HOUR).total_seconds() if snapshot.pending else 0.0
        yield _gauge(
            "litellm_cbf_pending_hours",
            "Complete hours whose current lines CloudZero does not have",
            len(snapshot.pending),
        )
        yield _gauge(
            "litellm_cbf_oldest_pending_age_seconds", "Seconds since the oldest pending hour ended", max(0.0, age)
        )
        size = GaugeMetricFamily(
            "litellm_cbf_month_bytes", "Bytes of a month that the stream holds", labels=("month", "stream")
        )
        rows = GaugeMetricFamily(
            "litellm_cbf_month_rows", "Lines of a month that the stream holds", labels=("month", "stream")
        )
        for stream, month, usage in snapshot.months:
            size.add_metric((f"{month:%Y-%m}", stream), usage.size)
            rows.add_metric((f"{month:%Y-%m}", stream), usage.rows)
        yield size
        yield rows


def _add(total: Sent, sent: Sent) -> None:
    total.hours += sent.hours
    total.lines += sent.lines
    total.bytes += sent.bytes
    total.cost += sent.cost
    total.drops += sent.drops


def _counter(name: str, text: str, value: Decimal | int) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))  # Prometheus has floats only


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(values.items()):
        family.add_metric((value,), count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _moment(name: str, text: str, moment: datetime | None) -> Iterator[Metric]:
    """A Unix timestamp in seconds; no sample while there is no moment, as 0 would mean 1970."""
    if moment is not None:
        yield _gauge(name, text, moment.timestamp())
