"""The response of `GET /api/overview`, for the page, for programs and for the OpenAPI description.

Money is in USD, as text with all digits. Times are UTC, such as `2024-01-15T14:00:00Z`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

State = Literal["sent", "pending", "changed", "failed", "held_back", "incomplete", "none", "before_since", "future"]


class PeriodTotals(BaseModel):
    """Cost at source, in the lines and sent, over the complete hours of one period."""

    name: str
    start: str
    end: str
    source: str = Field(description="USD of LiteLLM's spend logs as summed, including logs that were deleted since")
    left_out: str = Field(description="USD of providers that are excluded from the lines by configuration")
    lines: str = Field(description="USD of the lines")
    sent: str | None = Field(description="USD that CloudZero accepted; null when no stream is known")
    lines_difference: str = Field(description="lines - (source - left_out), USD")
    sent_difference: str | None = Field(description="sent - lines, USD")
    agree: bool = Field(description="Whether source - left_out = lines = sent, to the last digit")
    findings: list[str] = Field(description="What differs and by how much, as sentences")


class ChartSeries(BaseModel):
    """One series of the chart: its cost (USD) and tokens for each of `hours`."""

    key: str | None = Field(description="null for the series of all that are not among the largest")
    label: str
    cost: str
    tokens: int
    costs: list[str]
    token_counts: list[int]


class HourlyUsage(BaseModel):
    """Cost and tokens by hour, broken down by model and by team."""

    hours: list[str]
    cost: str
    tokens: int
    by_model: list[ChartSeries]
    by_team: list[ChartSeries]


class CalendarCell(BaseModel):
    """One hour of the calendar. `detail` explains the state; it is empty when there is nothing to add."""

    hour: str
    state: State
    lines: int
    cost: str
    detail: str


class MonthLimits(BaseModel):
    """How much of CloudZero's limits a month of the stream uses."""

    month: str
    rows: int
    rows_limit: int
    bytes: int
    bytes_limit: int
    share: float = Field(description="Share of the limit that is closer; 1.0 is full")
    warns: bool


class PushSummary(BaseModel):
    """One push, as recorded in the push log."""

    began_at: str
    ended_at: str
    operation: str
    outcome: Literal["accepted", "partly", "failed", "under_way"]
    hours: int
    hours_accepted: int
    lines: int
    bytes: int
    cost: str
    detail: str


class StreamOverview(BaseModel):
    """One AnyCost stream. Without a configured or recorded stream: what would be sent, with null IDs."""

    connection_id: str | None
    api_url: str | None
    totals: list[PeriodTotals]
    calendar: list[CalendarCell]
    months: list[MonthLimits]
    pushes: list[PushSummary]


class LineSummary(BaseModel):
    """One of the newest lines."""

    hour: str
    provider: str
    model: str
    owner: str
    user: str
    tokens: int
    cost: str
    resource_id: str


class Overview(BaseModel):
    """Everything that the page shows, as of one moment."""

    read_at: str
    built_at: str
    since: str | None = Field(description="Hours before this one are not sent")
    is_empty: bool = Field(description="Whether no usage has been summed yet")
    warnings: list[str] = Field(description="What needs attention, such as requests that are rejected")
    newest_hour: str | None
    usage: HourlyUsage
    streams: list[StreamOverview]
    newest_lines: list[LineSummary]


class ReadProblem(BaseModel):
    """Why the warehouse cannot be read at the moment."""

    kind: Literal["locked", "unreadable"]
    message: str


class OverviewResponse(BaseModel):
    """The latest overview (null if there is none yet), and why it could not be updated, if so."""

    problem: ReadProblem | None
    overview: Overview | None
