-- Requests in = requests out, hour by hour over the lookback window: staging has each request once, and leaves none out.
with

spend_logs as (
    select
        {{ request_id_or_null('request_id') }} as request_id,
        -- Requests without a start are compared under the first hour of 1970.
        coalesce({{ dbt.date_trunc('hour', 'started_at') }}, {{ hour_without_start() }}) as usage_hour,
        started_at
    from {{ ref('base_litellm__spend_logs') }}
    where {{ is_within('started_at', usage_window_start(load_kept_hours()), load_until()) }}
),

requests as (
    select distinct
        usage_hour,
        request_id,
        started_at
    from spend_logs
    where request_id is not null

    union all

    select
        usage_hour,
        request_id,
        started_at
    from spend_logs
    where request_id is null
),

source_hours as (
    select
        usage_hour,
        count(*) as request_count
    from requests
    group by usage_hour
),

staged_hours as (
    select
        coalesce(usage_hour, {{ hour_without_start() }}) as usage_hour,
        count(*) as request_count
    from {{ ref('stg_litellm__spend_logs') }}
    where {{ is_within('started_at', usage_window_start(load_kept_hours()), load_until()) }}
    group by coalesce(usage_hour, {{ hour_without_start() }})
)

select
    coalesce(source_hours.usage_hour, staged_hours.usage_hour) as usage_hour,
    source_hours.request_count as source_request_count,
    staged_hours.request_count as staged_request_count
from source_hours
full outer join staged_hours on source_hours.usage_hour = staged_hours.usage_hour
where coalesce(source_hours.request_count, 0) <> coalesce(staged_hours.request_count, 0)
