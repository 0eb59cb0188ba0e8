-- Money, tokens and requests in = out, hour by hour over the lookback window, and no row is duplicated. An hour that holds more
-- requests than the source, or earlier ones, is history that outlived it. Hours that were written to since the
-- last run began are not compared.
{%- set grain = ['usage_hour', 'team_id', 'provider', 'model'] + stored_dimensions() | map(attribute='column') | list %}
with

staged_hours as (
    {{ usage_by_hour() }}
),

counted as (
    select
        *,
        row_number() over (partition by {{ grain | join(', ') }} order by summed_at) as occurrence
    from {{ ref('int_usage__hourly') }}
    where {{ is_within('usage_hour', usage_window_start(load_kept_hours()), none) }}
),

hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens,
        max(occurrence) as occurrences
    from counted
    group by usage_hour
)

select
    coalesce(staged_hours.usage_hour, hours.usage_hour) as usage_hour,
    staged_hours.request_count as staged_request_count,
    hours.request_count,
    staged_hours.cost_usd as staged_cost_usd,
    hours.cost_usd,
    hours.occurrences
from staged_hours
full outer join hours on staged_hours.usage_hour = hours.usage_hour
where
    hours.occurrences > 1
    or (staged_hours.is_settled and hours.usage_hour is null)
    or (
        staged_hours.is_settled
        and staged_hours.first_started_at <= hours.first_started_at
        and (
            hours.request_count < staged_hours.request_count
            or (
                hours.request_count = staged_hours.request_count
                and (hours.cost_usd <> staged_hours.cost_usd or hours.total_tokens <> staged_hours.total_tokens)
            )
        )
    )
