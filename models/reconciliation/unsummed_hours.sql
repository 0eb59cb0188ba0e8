-- One row per UTC hour of the lookback window of which spend logs are not summed, although all of them were there when the last run began.
-- An hour that holds more requests than the source, or earlier ones, is history that outlived it.

-- Built last, when cbf_as_of has what this run knew:
-- depends_on: {{ ref('cbf_as_of') }}
{%- set known = newest_known_hour() if is_run() else none %}
{%- set window_start = start_of_lookback(known or run_started_at.strftime('%Y-%m-%d %H:%M:%S')) %}

with

staged_hours as (
    {{ usage_by_hour(window_start, summed_until()) }}
),

hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens
    from {{ ref('int_usage__hourly') }}
    where {{ is_within('usage_hour', window_start, none) }} and request_count > 0
    group by usage_hour
),

final as (
    select
        staged_hours.usage_hour,
        staged_hours.cost_usd - coalesce(hours.cost_usd, 0) as cost_usd
    from staged_hours
    left join hours on staged_hours.usage_hour = hours.usage_hour
    where
        staged_hours.is_settled
        and (
            hours.usage_hour is null
            or (
                staged_hours.first_started_at <= hours.first_started_at
                and (
                    hours.request_count < staged_hours.request_count
                    or (
                        hours.request_count = staged_hours.request_count
                        and (hours.cost_usd <> staged_hours.cost_usd or hours.total_tokens <> staged_hours.total_tokens)
                    )
                )
            )
        )
)

select * from final
