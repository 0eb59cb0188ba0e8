"""Made-up but lifelike LiteLLM spend logs, up to now, from a seed.

The rows have those columns of "LiteLLM_SpendLogs" (LiteLLM's schema.prisma) that a bill needs, or the keys of
LiteLLM's StandardLoggingPayload (its logging specification); never a prompt or an answer. Every value is cut
from the MD5 of seed, purpose and row number, so a plan gives the same rows in every format. Each request id
starts with `sample-`, so that made-up rows can always be told from real ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from decimal import Context, Decimal
from hashlib import md5, sha256
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from loader.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    import duckdb

FORMATS = ("jsonl", "parquet", "csv", "payload")
MOST_DAYS = 3_660

# Id (None: a UUID), alias, short name, organization, cost center, project (id, alias), share of the traffic.
_TEAMS: tuple[tuple[str | None, str, str, int, str, tuple[str | None, str] | None, int], ...] = (
    ("team-search", "Search", "search", 0, "CC-4100", ("project-semantic-search", "Semantic search"), 3),
    ("team-support", "Customer Support", "support", 0, "CC-4200", ("project-replies", "Ticket replies"), 2),
    (None, "Data Platform", "data", 1, "CC-5100", (None, "Churn model"), 2),
    (None, "Growth", "growth", 1, "CC-5200", None, 1),
    ("Team Ärger/42", "Ärger & Söhne", "aerger", 2, "CC-6000", ("invoices/2026", "Invoice reader"), 1),
    (None, "Research", "research", 2, "CC-6100", (None, "Paper digest"), 1),
    ("team-mobile", "Mobile", "mobile", 0, "CC-4300", None, 2),
    ("payments@example.com", "Payments", "payments", 1, "CC-5300", None, 1),
)
_ORGANIZATIONS = (("org-consumer", "Consumer"), ("org-platform", "Platform"), (None, "Labs"))
_FIRST = "ada ben chloe dan eva finn gina hugo ines jan kira leo mia nils olga paul rosa sam tina uwe"
_LAST = "berg costa diaz evans fischer garcia haas ito jones kumar larsen meyer"
_USERS = 60

# Means are tokens a request; in_usd and out_usd are USD a token, unit_usd USD an image, second of audio or
# character of speech. Prices follow the providers' public lists, but for embed-tiny: costs of 1e-9 USD occur.
_MODELS = """
weight call_type provider model model_group in_mean out_mean in_usd out_usd most_units unit_usd
90 acompletion openai gpt-4o gpt-4o 900 260 2.5e-6 1e-5 0 0
120 acompletion openai gpt-4o-mini gpt-4o-mini 800 240 1.5e-7 6e-7 0 0
25 acompletion openai o3-mini reasoning 700 900 1.1e-6 4.4e-6 0 0
30 acompletion - openai/gpt-4o-mini gpt-4o-mini 700 200 1.5e-7 6e-7 0 0
12 completion - anthropic/claude-3-haiku-20240307 claude-haiku 600 200 2.5e-7 1.25e-6 0 0
60 acompletion azure gpt-4o-2024-08-06 gpt-4o 1000 280 2.5e-6 1e-5 0 0
25 acompletion azure gpt-4.1-mini gpt-4.1-mini 900 250 4e-7 1.6e-6 0 0
15 acompletion azure_ai Mistral-large-2407 mistral-large 700 220 2e-6 6e-6 0 0
10 acompletion azure_ai DeepSeek-R1 reasoning 600 900 1.35e-6 5.4e-6 0 0
60 acompletion anthropic claude-sonnet-4-20250514 claude-sonnet 1400 350 3e-6 1.5e-5 0 0
25 acompletion anthropic claude-3-5-haiku-20241022 claude-haiku 900 250 8e-7 4e-6 0 0
6 anthropic_messages anthropic claude-opus-4-20250514 claude-opus 2000 500 1.5e-5 7.5e-5 0 0
6 pass_through_endpoint anthropic claude-3-5-haiku-20241022 - 900 250 8e-7 4e-6 0 0
40 acompletion bedrock bedrock/anthropic.claude-3-5-sonnet-20240620-v1:0 claude-sonnet 900 320 3e-6 1.5e-5 0 0
12 acompletion bedrock bedrock/us.meta.llama3-1-70b-instruct-v1:0 llama-70b 700 220 7.2e-7 7.2e-7 0 0
20 acompletion bedrock bedrock/amazon.nova-lite-v1:0 nova-lite 800 200 6e-8 2.4e-7 0 0
25 acompletion vertex_ai gemini-1.5-pro-002 gemini-pro 1100 300 1.25e-6 5e-6 0 0
40 acompletion vertex_ai gemini-2.0-flash-001 gemini-flash 1000 280 1.5e-7 6e-7 0 0
25 acompletion gemini gemini/gemini-2.5-flash gemini-flash 1000 350 3e-7 2.5e-6 0 0
12 acompletion together_ai together_ai/meta-llama/Llama-3.3-70B-Instruct llama-70b 700 220 8.8e-7 8.8e-7 0 0
10 acompletion mistral mistral/mistral-small-latest mistral-small 600 200 1e-7 3e-7 0 0
12 acompletion groq groq/llama-3.1-8b-instant llama-8b 600 200 5e-8 8e-8 0 0
60 aembedding openai text-embedding-3-small embed-small 120 0 2e-8 0 0 0
15 aembedding vertex_ai text-embedding-005 embed-vertex 90 0 2.5e-8 0 0 0
20 aembedding together_ai together_ai/BAAI/bge-base-en-v1.5 embed-tiny 8 0 1e-9 0 0 0
4 aimage_generation openai dall-e-3 image 0 0 0 0 4 0.04
8 atranscription openai whisper-1 whisper 0 0 0 0 900 1e-4
4 aspeech openai tts-1 speech 0 0 0 0 2000 1.5e-5
"""

# How busy each hour of a working day is, UTC, in relative units.
_WORKDAY = (4, 3, 3, 3, 4, 6, 12, 25, 44, 58, 62, 58, 46, 55, 62, 60, 54, 42, 28, 20, 15, 11, 8, 6)


@dataclass(frozen=True)
class SamplePlan:
    """What to make up: `rows` requests that start in the `days` times 24 hours before the hour of `until`.

    `until` is an aware time; it is floored to the hour, so that the sample ends with a complete hour.
    """

    rows: int = 20_000
    days: int = 3
    until: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    seed: int = 1
    format: str = "jsonl"

    def window(self) -> tuple[datetime, datetime]:
        """Give start and end of the sample, UTC, half-open; a plan that makes no sense is a UsageError."""
        if self.rows < 1:
            raise UsageError(f"rows is {self.rows}: a sample needs at least 1")
        if not 1 <= self.days <= MOST_DAYS:
            raise UsageError(f"days is {self.days}: give 1 to {MOST_DAYS}")
        if self.format not in FORMATS:
            raise UsageError(f"format is {self.format!r}: give one of {', '.join(FORMATS)}")
        if self.until.tzinfo is None:
            raise UsageError(f"until is {self.until.isoformat()}: it has no UTC offset, add one")
        end = self.until.astimezone(timezone.utc).replace(minute=0, second=0, microsecond=0)
        return end - timedelta(days=self.days), end


@dataclass(frozen=True)
class SampleReport:
    """What was written. `spend` (USD) is the exact sum of each double's shortest decimal text.

    `first` and `last` are the earliest and latest start of a request, UTC.
    """

    files: tuple[Path, ...]
    rows: int
    spend: Decimal
    first: datetime
    last: datetime


def write_sample(plan: SamplePlan, folder: Path) -> SampleReport:
    """Write one file for each UTC day that has requests; earlier samples in `folder` are replaced.

    As in LiteLLM, a request counts by its start: it may end, and its row land, after the window.

    Raises:
        UsageError: the plan makes no sense.
        ConfigurationError: `folder` cannot be written, or holds something that is not a sample.

    """
    # Imported late: the other commands should not wait for it.
    import duckdb

    start, end = plan.window()
    folder = folder.absolute()
    try:
        _make_room(folder)
        with duckdb.connect() as database:
            return _write(database, plan, folder, start, end)
    except (OSError, duckdb.IOException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        message = f"cannot write the sample to {folder}: {reason}; give a folder that can be written"
        raise ConfigurationError(message) from error


def name_tables(seed: int) -> dict[str, list[dict[str, str | None]]]:
    """Give the rows of LiteLLM's name tables for the sample of this seed, referenced tables first."""
    keys = [key for _, key in _keys(seed) if key["token"]]
    key_columns = ("token", "key_alias", "user_id", "team_id", "organization_id", "project_id")
    return {
        "LiteLLM_OrganizationTable": _distinct(keys, "organization_id", "organization_alias"),
        "LiteLLM_TeamTable": _distinct(keys, "team_id", "team_alias", "organization_id"),
        "LiteLLM_UserTable": _distinct(keys, "user_id", "user_email", "user_alias"),
        "LiteLLM_VerificationToken": _distinct(keys, *key_columns),
    }


def project_rows(seed: int) -> list[dict[str, str | None]]:
    """Give the rows of "LiteLLM_ProjectTable", which "LiteLLM_VerificationToken".project_id refers to."""
    return _distinct([key for _, key in _keys(seed)], "project_id", "project_alias", "team_id")


def _distinct(keys: list[dict[str, str | None]], *columns: str) -> list[dict[str, str | None]]:
    """Give one row for each value of the first column, in order of appearance, without its None."""
    found = {key[columns[0]]: {name: key[name] for name in columns} for key in keys}
    return [row for name, row in found.items() if name is not None]


def _keys(seed: int) -> list[tuple[int, dict[str, str | None]]]:
    """Give each virtual key, with its share of the requests first and all the names that hang on it.

    Three service keys a team, one key a person, and the traffic that belongs to nobody.
    """
    columns = (
        "token key_alias user_id user_email user_alias team_id team_alias organization_id organization_alias "
        "project_id project_alias agent_id environment app cost_center"
    )
    nobody: dict[str, str | None] = dict.fromkeys(columns.split())
    keys: list[tuple[int, dict[str, str | None]]] = []

    def add(weight: int, alias: str | None, *names: dict[str, str | None]) -> None:
        key = nobody | {"token": sha256(f"{seed}:key:{alias}".encode()).hexdigest(), "key_alias": alias}
        for more in names:
            key |= more
        keys.append((weight, key))

    def uuid(purpose: str) -> str:
        return str(UUID(md5(f"{seed}:{purpose}".encode(), usedforsecurity=False).hexdigest()))

    teams: list[dict[str, str | None]] = []
    for team_id, team_alias, app, home, cost_center, project, share in _TEAMS:
        organization_id, organization_alias = _ORGANIZATIONS[home]
        team: dict[str, str | None] = {
            "team_id": team_id or uuid(f"team:{app}"),
            "team_alias": team_alias,
            "organization_id": organization_id or uuid(f"organization:{home}"),
            "organization_alias": organization_alias,
            "cost_center": cost_center,
            "app": app,
        }
        task: dict[str, str | None] = {}
        if project is not None:
            task = {"project_id": project[0] or uuid(f"project:{app}"), "project_alias": project[1]}
        agent_id = f"agent-{app}" if app in ("support", "research") else None
        add(30 * share, f"{app}-prod", team, task, {"environment": "prod", "agent_id": agent_id})
        add(12 * share, f"{app}-batch", team, task, {"environment": "batch"})
        add(4 * share, f"{app}-staging", team, {"environment": "staging"})
        teams.append(team)
    firsts, lasts = _FIRST.split(), _LAST.split()
    for number in range(_USERS):
        # Every first name meets another last name in each turn, so no two people are called the same.
        turn, place = divmod(number, len(firsts))
        first, last = firsts[place], lasts[(7 * place + 3 * turn) % len(lasts)]
        email = f"{first}.{last}@example.com"
        person: dict[str, str | None] = {
            "user_id": (email, uuid(f"user:{number}"), f"{first}_{last}")[number % 3],
            "user_email": email,
            "user_alias": f"{first} {last}".title() if number % 5 else None,
            "environment": "dev",
        }
        # The last four people are in no team.
        add(6, f"{first}.{last}-laptop", teams[number % len(teams)] if number < _USERS - 4 else {}, person)
    add(15, None)
    # Requests that LiteLLM logged without a key.
    add(5, None, {"token": ""})
    return keys


def _make_room(folder: Path) -> None:
    """Create the folder and take the earlier samples out of it, or refuse before anything is lost."""
    folder.mkdir(parents=True, exist_ok=True)
    # A hidden file (.gitkeep, .DS_Store) is no spend log: nothing gets mixed with it.
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if not _is_sample(entry):
            raise ConfigurationError(
                f"{folder} holds {entry.name}, which is not a sample: made-up rows are never put next to "
                "other files; give another folder"
            )
    for entry in entries:
        entry.unlink()


def _is_sample(path: Path) -> bool:
    """Tell a sample by its name and its content: an export of real logs may well have the same name."""
    name = r"(spend_logs-\d{4}-\d\d-\d\d\.(jsonl|parquet|csv)|payload-\d{4}-\d\d-\d\d\.jsonl)"
    if not re.fullmatch(name, path.name) or not path.is_file():
        return False
    with path.open("rb") as file:
        if path.suffix != ".parquet":
            return bool(re.match(rb'(\{"(request_)?id":"|request_id,[^\n]*\n)sample-', file.read(4096)))
        # Parquet keeps a file's own pairs at its end.
        file.seek(max(0, path.stat().st_size - 4096))
        return b"loader sample" in file.read()


def _hours(plan: SamplePlan, start: datetime) -> Iterator[tuple[datetime, int, int]]:
    """Share the row numbers out among the hours: hour, its first row, the one after its last.

    Bounds are whole numbers from one running total, so no row is lost or made twice.
    """
    hours = [start + timedelta(hours=number) for number in range(24 * plan.days)]
    weights = [_WORKDAY[hour.hour] if hour.weekday() < 5 else 2 + _WORKDAY[hour.hour] // 5 for hour in hours]
    totals = list(accumulate(weights, initial=0))
    bounds = [plan.rows * total // totals[-1] for total in totals]
    for hour, first, stop in zip(hours, bounds[:-1], bounds[1:], strict=True):
        if first < stop:
            yield hour, first, stop


def _load(database: duckdb.DuckDBPyConnection, table: str, names: Sequence[str], rows: Sequence[Any]) -> None:
    """Make a table of a few rows in one statement; one INSERT a row would take longer than the sample."""
    select = ", ".join(f"unnest(${name}) as {name}" for name in names)
    columns = [list(column) for column in zip(*rows, strict=True)]
    database.execute(f"create or replace temp table {table} as select {select}", dict(zip(names, columns, strict=True)))


def _write(
    database: duckdb.DuckDBPyConnection, plan: SamplePlan, folder: Path, start: datetime, end: datetime
) -> SampleReport:
    keys = _keys(plan.seed)
    _load(database, "api_key", ("weight", *keys[0][1]), [(weight, *key.values()) for weight, key in keys])
    names, *models = (line.split() for line in _MODELS.strip().splitlines())
    _load(database, "model", names, [["" if cell == "-" else cell for cell in model] for model in models])
    database.execute("set variable seed = $1", [str(plan.seed)])
    database.execute("set variable end_ms = $1", [_milliseconds(end)])
    database.execute(_SETUP)
    stem, suffix = ("payload", "jsonl") if plan.format == "payload" else ("spend_logs", plan.format)
    files, rows, spend, first_ms, last_ms = [], 0, Decimal(0), _milliseconds(end), 0
    for day, hours in groupby(_hours(plan, start), key=lambda hour: hour[0].date()):
        spans = [(_milliseconds(hour), first_row, stop_row) for hour, first_row, stop_row in hours]
        _load(database, "span", ("hour_ms", "first_row", "stop_row"), spans)
        database.execute(_NUMBERS)
        files.append(folder / f"{stem}-{day}.{suffix}")
        database.execute(_COPY[plan.format], [str(files[-1])])
        count, usd, earliest, latest = database.execute(_TOTALS).fetchall()[0]
        rows += count
        # 38 digits, as DuckDB counts; Python's own context would round the sum to 28.
        spend = Context(prec=38).add(spend, usd)
        first_ms, last_ms = min(first_ms, earliest), max(last_ms, latest)
    epoch = datetime(1970, 1, 1, tzinfo=timezone.utc)
    first, last = (epoch + timedelta(milliseconds=number) for number in (first_ms, last_ms))
    return SampleReport(tuple(files), rows, spend, first, last)


def _milliseconds(hour: datetime) -> int:
    """Give the milliseconds since 1970 of a whole hour."""
    return int(hour.timestamp()) * 1000


_SETUP = """
-- 64 bits of an MD5. Not md5_number_lower(), which goes through text and takes four times as long.
create temp macro draw(purpose, n) as
(md5_number(concat(getvariable('seed'), purpose, n)) & 18446744073709551615::uhugeint)::ubigint;

-- One of 0 to ways - 1, from 16 of a draw's 64 bits.
create temp macro pick(bits, low, ways) as ((bits >> low) & 65535)::integer % ways;
-- The product of two draws: many small requests, few large ones; at most four times the mean.
create temp macro tokens(bits, low, mean) as
(1 + ((pick(bits, low, 4096) * pick(bits, low + 16, 4096) * mean) >> 22))::integer;

-- A key or model stands in its list as often as it weighs, so drawing a place is a weighted draw.
-- Lists and not tables, because a join would leave the rows of a file in any order.
set variable keys = (
    select list(struct_pack(*columns(* exclude (weight, turn))) order by key_number, turn)
    from (select rowid as key_number, unnest(range(weight)) as turn, * from api_key)
);
set variable models = (
    select
        list(struct_pack(
            call_type, custom_llm_provider := provider, model, model_group,
            model_id := md5(concat(getvariable('seed'), provider, model)),
            in_mean := in_mean::bigint, in_usd := in_usd::double,
            out_mean := out_mean::bigint, out_usd := out_usd::double,
            most_units := most_units::integer, unit_usd := unit_usd::double
        ) order by model_number, turn)
    from (select rowid as model_number, unnest(range(weight::integer)) as turn, * from model)
);

create temp table number (hour_ms bigint, n bigint);

create temp view request as
with

drawn as (
    select
        *, draw(':who:', n) as who, draw(':what:', n) as what, draw(':size:', n) as size,
        draw(':time:', n) as clock, draw(':fate:', n) as fate
    from number
),

keyed as (
    select *, getvariable('keys')[1 + pick(who, 0, len(getvariable('keys')))] as key
    from drawn
),

modelled as (
    select
        * exclude (key),
        unnest(key),
        -- Three of four requests go to the key's own few models, as programs do.
        getvariable('models')[1 + if(
            pick(what, 0, 4) = 0,
            pick(what, 16, len(getvariable('models'))),
            (key.key_number * 37 + pick(what, 16, 4) * 211) % len(getvariable('models'))
        )] as chosen
    from keyed
),

sized as (
    select
        * exclude (chosen),
        unnest(chosen),
        -- 3 % fail, one in eight of them after a part that has to be paid; 4 % come from the cache.
        pick(fate, 0, 1000) < 30 as is_failure,
        is_failure and pick(fate, 16, 8) > 0 as is_free_failure,
        pick(fate, 0, 1000) between 30 and 69 as is_cached,
        -- One request in fifty holds a document.
        if(is_free_failure or chosen.in_mean = 0, 0,
            tokens(size, 0, chosen.in_mean) * if(pick(fate, 32, 50) = 0, 20, 1)) as prompt_tokens,
        if(is_free_failure or chosen.out_mean = 0, 0, tokens(size, 32, chosen.out_mean)) as completion_tokens,
        if(chosen.most_units = 0, 0, 1 + pick(size, 0, chosen.most_units)) as units
    from modelled
),

timed as (
    select
        *,
        hour_ms + (clock & 4294967295)::bigint % 3600000 as start_ms,
        -- The cache answers at once; one request in a hundred streams for up to a quarter of an hour, but
        -- none in the last hour: it would end after now.
        start_ms + case
            when is_cached then 5 + pick(clock, 32, 60)
            when pick(fate, 48, 100) = 0 and hour_ms + 3600000 < getvariable('end_ms')
                then 30000 + 13 * pick(clock, 32, 65536)
            else 150 + pick(clock, 32, 1500) + completion_tokens * (6 + pick(fate, 48, 20))
        end as end_ms,
        end_ms + 5000 + pick(clock, 48, 85000) as usual_ms,
        -- One row in 300 lands up to 18 hours late, but for those that would have to come from the future.
        usual_ms + 1000 * pick(who, 48, 65536) as late_ms,
        if(pick(what, 48, 300) = 0 and late_ms < getvariable('end_ms'), late_ms, usual_ms) as landed_ms
    from sized
)

select
    *,
    'sample-' || md5(concat(getvariable('seed'), ':id:', n)) as request_id,
    if(is_cached or is_free_failure, 0,
        prompt_tokens * in_usd + completion_tokens * out_usd + units * unit_usd) as spend,
    prompt_tokens + completion_tokens as total_tokens,
    if(is_failure, 'failure', 'success') as status,
    case when is_failure then 'None' when is_cached then 'True' else 'False' end as cache_hit,
    case when user_id is null and team_id is not null and pick(who, 16, 2) = 0
        then printf('customer-%03d', pick(who, 32, 400)) end as end_user,
    case when pick(who, 16, 5) > 0 then md5(concat(getvariable('seed'), token, n >> 6)) end as session_id,
    case
        when environment is null or pick(what, 32, 20) = 0 then []
        when pick(what, 32, 20) = 1 then ['env:' || environment, 'priority:high']
        else ['env:' || environment, 'app:' || coalesce(app, 'chat')]
    end as request_tags,
    {
        user_api_key_alias: key_alias,
        user_api_key_team_alias: team_alias,
        user_api_key_user_email: user_email,
        user_api_key_user_id: user_id,
        user_api_key_org_id: organization_id,
        user_api_key_project_id: project_id,
        user_api_key_project_alias: project_alias,
        usage_object: {
            prompt_tokens: prompt_tokens,
            completion_tokens: completion_tokens,
            total_tokens: total_tokens,
            prompt_tokens_details: {cached_tokens: prompt_tokens * pick(fate, 16, 4) // 8},
            completion_tokens_details: {
                reasoning_tokens: if(model_group = 'reasoning', completion_tokens // 2, 0)
            }
        },
        spend_logs_metadata: case when cost_center is not null then {
            cost_center: cost_center,
            feature: ['answer', 'summary', 'classify', 'extract', 'rewrite'][1 + pick(what, 32, 5)]
        } end
    } as metadata
from timed;

create temp view spend_log as
select
    request_id, call_type, token as api_key, spend, total_tokens, prompt_tokens, completion_tokens,
    make_timestamp_ms(start_ms) as "startTime", make_timestamp_ms(end_ms) as "endTime",
    make_timestamp_ms(landed_ms) as created_at, created_at as updated_at,
    model, model_id, model_group, custom_llm_provider, coalesce(user_id, '') as "user",
    team_id, organization_id, end_user, metadata, request_tags, status, cache_hit, session_id, agent_id
from request;

create temp view payload as
select
    request_id as id, call_type, spend as response_cost, total_tokens, prompt_tokens, completion_tokens,
    start_ms / 1000::double as "startTime", end_ms / 1000::double as "endTime",
    model, model_id, model_group, custom_llm_provider, status, end_user, request_tags,
    case cache_hit when 'True' then true when 'False' then false end as cache_hit, session_id, agent_id,
    struct_insert(
        metadata,
        user_api_key_hash := token,
        user_api_key_team_id := team_id,
        user_api_key_org_alias := organization_alias
    ) as metadata
from request;

create temp view flat_spend_log as
select * replace (to_json(metadata)::varchar as metadata, to_json(request_tags)::varchar as request_tags)
from spend_log;
"""

# A table and not range() itself, for DuckDB reads a table with all its threads.
_NUMBERS = "create or replace temp table number as select hour_ms, unnest(range(first_row, stop_row)) as n from span"

# 28 places hold all 17 digits of a double down to 1e-9.
_TOTALS = "select count(*), sum(spend::varchar::decimal(38, 28)), min(start_ms), max(start_ms) from request"

_COPY = {
    "jsonl": "copy (from spend_log) to $1 (format json, timestampformat '%Y-%m-%dT%H:%M:%S.%g')",
    "parquet": "copy (from flat_spend_log) to $1 (format parquet, kv_metadata {made_by: 'loader sample'})",
    "csv": "copy (from flat_spend_log) to $1 (format csv, header true)",
    "payload": "copy (from payload) to $1 (format json)",
}
