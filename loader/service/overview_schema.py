"""What `GET /api/overview` answers: the shape of it, for the page, for programs, and for the OpenAPI page.

Money is text with every digit, USD. Times are UTC, `2024-01-15T14:00:00Z`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

State = Literal["sent", "pending", "changed", "failed", "held_back", "incomplete", "none", "before_since", "future"]


class Totals(BaseModel):
    """The three sums of one period, over its complete hours."""

    name: str
    start: str
    end: str
    source: str = Field(description="USD of LiteLLM's spend logs as they were summed, kept also when the logs are gone")
    left_out: str = Field(description="USD of it of providers that are left out of the lines on purpose")
    lines: str = Field(description="USD over the lines")
    sent: str | None = Field(description="USD that CloudZero accepted; null when no stream is known")
    lines_difference: str = Field(description="lines - (source - left_out), USD")
    sent_difference: str | None = Field(description="sent - lines, USD")
    agree: bool = Field(description="source - left_out = lines = sent, to the last digit")
    findings: list[str] = Field(description="what differs and by how much, in words")


class Series(BaseModel):
    """One colour of the chart: its cost (USD) and tokens in each of `hours`."""

    key: str | None = Field(description="null for all that are not among the largest")
    label: str
    cost: str
    tokens: int
    costs: list[str]
    token_counts: list[int]


class Usage(BaseModel):
    """Cost and tokens by hour, once by model and once by team."""

    hours: list[str]
    cost: str
    tokens: int
    by_model: list[Series]
    by_team: list[Series]


class Cell(BaseModel):
    """One hour of the calendar. `detail` is a sentence, empty when the state says it all."""

    hour: str
    state: State
    lines: int
    cost: str
    detail: str


class Month(BaseModel):
    """What a month of the stream takes up of CloudZero's limits."""

    month: str
    rows: int
    rows_limit: int
    bytes: int
    bytes_limit: int
    share: float = Field(description="of the nearer limit, 1.0 being full")
    warns: bool


class PushSummary(BaseModel):
    """One run of a push, by what it left in the push log."""

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
    """One AnyCost stream, or what would be sent when none is known: then nothing is."""

    connection_id: str | None
    api_url: str | None
    totals: list[Totals]
    calendar: list[Cell]
    months: list[Month]
    pushes: list[PushSummary]


class NewLine(BaseModel):
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
    """Everything that the page shows, as of one moment of the warehouse."""

    read_at: str
    built_at: str
    since: str | None = Field(description="nothing older is sent")
    is_empty: bool = Field(description="no hour was ever summed")
    newest_hour: str | None
    usage: Usage
    streams: list[StreamOverview]
    newest_lines: list[NewLine]


class Problem(BaseModel):
    """Why the warehouse cannot be read now, in a sentence for people."""

    kind: Literal["locked", "unreadable"]
    message: str


class Answer(BaseModel):
    """The newest overview that could be read, and why it is not newer; null when there never was one."""

    problem: Problem | None
    overview: Overview | None
