"""What Prometheus reads. deploy/prometheus/alerts.yml and docs/service.md use these names."""

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
from loader.service.snapshot import Watch

OK, FAILED, LOCKED = OUTCOMES = ("ok", "failed", "locked")
CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Counts what this process does, and shows what the warehouse says. Money is a Decimal up to the scrape."""

    def __init__(self, watch: Watch, streams: Sequence[Stream]) -> None:
        self._watch = watch
        self._has_stream = bool(streams)
        self._lock = threading.Lock()
        self._settled = Sent()
        self._under_way: list[Sent] = []
        self._runs: Counter[str] = Counter(dict.fromkeys(OUTCOMES, 0))
        self._statuses: Counter[str] = Counter()
        self._started = datetime.now(timezone.utc)
        self._last_run: datetime | None = None
        self._last_success: datetime | None = None
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        self._watch.look()
        return generate_latest(self._registry)

    @contextmanager
    def sending(self) -> Iterator[Sent]:
        """What a push counts in; shown while it goes on, for a first load takes long."""
        sent = Sent()
        with self._lock:
            self._under_way.append(sent)
        try:
            yield sent
        finally:
            with self._lock:
                self._under_way.remove(sent)
                _add(self._settled, sent)

    def ran(self, outcome: str, at: datetime) -> None:
        """A run has ended."""
        with self._lock:
            self._runs[outcome] += 1
            self._last_run = at
            if outcome == OK:
                self._last_success = at

    def answered(self, status: str) -> None:
        """AnyCost has answered with this status; `none` for no answer."""
        with self._lock:
            self._statuses[status] += 1

    def describe(self) -> list[Metric]:
        """Nothing: registering reads no warehouse."""
        return []

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        with self._lock:
            sent = Sent()
            for each in [self._settled, *self._under_way]:
                _add(sent, each)
            runs, statuses = dict(self._runs), dict(self._statuses)
            last_run, last_success = self._last_run, self._last_success
        yield _counter("litellm_cbf_sent_cost_usd", "US dollars of the lines that AnyCost has taken", sent.cost)
        yield _counter("litellm_cbf_sent_lines", "Lines that AnyCost has taken", sent.lines)
        yield _counter("litellm_cbf_sent_bytes", "Bytes of the bodies that AnyCost has taken", sent.bytes)
        yield _labelled("litellm_cbf_runs", "Runs of dbt and a push on the schedule, by outcome", "outcome", runs)
        yield _labelled(
            "litellm_cbf_anycost_requests", "Requests to AnyCost, by status of the answer", "status", statuses
        )
        # What an alert counts from while no run has ended well.
        yield from _moment("litellm_cbf_started_timestamp_seconds", "When this process began", self._started)
        yield from _moment("litellm_cbf_last_run_timestamp_seconds", "When the last run ended", last_run)
        yield from _moment("litellm_cbf_last_success_timestamp_seconds", "When the last good run ended", last_success)
        yield from self._of_the_warehouse()

    def _of_the_warehouse(self) -> Iterator[Metric]:
        yield _gauge("litellm_cbf_month_limit_bytes", "Bytes that a stream may hold of a month", MONTH_BYTES)
        yield _gauge("litellm_cbf_month_limit_rows", "Lines that a stream may hold of a month", MONTH_ROWS)
        seen = self._watch.seen
        if seen is None:
            return
        built = "When the run of dbt began that last summed usage"
        yield from _moment("litellm_cbf_models_built_timestamp_seconds", built, seen.built_at)
        if not self._has_stream:
            return
        age = (datetime.now(timezone.utc) - seen.pending[0] - HOUR).total_seconds() if seen.pending else 0.0
        yield _gauge(
            "litellm_cbf_pending_hours", "Complete hours that CloudZero does not hold as they are now",
            len(seen.pending),
        )  # fmt: skip
        yield _gauge("litellm_cbf_oldest_pending_age_seconds", "How long ago the oldest of them ended", max(0.0, age))
        size = GaugeMetricFamily("litellm_cbf_month_bytes", "Bytes held of a month", labels=("month", "stream"))
        rows = GaugeMetricFamily("litellm_cbf_month_rows", "Lines held of a month", labels=("month", "stream"))
        for stream, month, room in seen.months:
            size.add_metric((f"{month:%Y-%m}", stream), room.size)
            rows.add_metric((f"{month:%Y-%m}", stream), room.rows)
        yield size
        yield rows


def _add(total: Sent, sent: Sent) -> None:
    total.hours += sent.hours
    total.lines += sent.lines
    total.bytes += sent.bytes
    total.cost += sent.cost
    total.drops += sent.drops


def _counter(name: str, text: str, value: Decimal | int) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))  # Prometheus knows nothing else


def _labelled(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=(label,))
    for value, count in sorted(values.items()):
        family.add_metric((value,), count)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def _moment(name: str, text: str, moment: datetime | None) -> Iterator[Metric]:
    """Seconds since 1970; no sample while there is none, for 1970 is long ago."""
    if moment is not None:
        yield _gauge(name, text, moment.timestamp())
