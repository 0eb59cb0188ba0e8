-- Spend logs and money in = out, hour by hour over the lookback window: each spend log is a request or is merged into one. None is left
-- out, and none is both. A merged one has a request of the same id that counts, or a batch that was charged.
with

spend_logs as (
    select
        -- Requests without a start are compared under the first hour of 1970.
        coalesce({{ dbt.date_trunc('hour', 'started_at') }}, {{ hour_without_start() }}) as usage_hour,
        case when abs(coalesce(spend, 0)) < 1e15 then {{ exact_usd('coalesce(spend, 0)') }} else 0 end as cost_usd
    from {{ ref('base_litellm__spend_logs') }}
    where {{ is_within('started_at', usage_window_start(load_kept_hours()), load_until()) }}
),

source_hours as (
    select
        usage_hour,
        count(*) as spend_log_count,
        sum(cost_usd) as cost_usd
    from spend_logs
    group by usage_hour
),

requests as (
    select
        request_id,
        usage_hour,
        cost_usd
    from {{ ref('stg_litellm__spend_logs') }}
    where {{ starts_within(usage_window_start(load_kept_hours()), load_until()) }}
),

merged as (
    select
        request_id,
        merge_reason,
        usage_hour,
        cost_usd
    from {{ ref('merged_spend_logs') }}
    where {{ starts_within(usage_window_start(load_kept_hours()), load_until()) }}
),

accounted as (
    select
        usage_hour,
        cost_usd
    from requests

    union all

    select
        usage_hour,
        cost_usd
    from merged
),

staged_hours as (
    select
        coalesce(usage_hour, {{ hour_without_start() }}) as usage_hour,
        count(*) as spend_log_count,
        sum(coalesce(cost_usd, 0)) as cost_usd
    from accounted
    group by coalesce(usage_hour, {{ hour_without_start() }})
),

copies_without_request as (
    select
        merged.usage_hour,
        count(*) as spend_log_count
    from merged
    left join requests on merged.request_id = requests.request_id
    left join {{ ref('base_litellm__billed_jobs') }} as billed_jobs
        on {{ regexp_replace_all('merged.request_id', '(_batch_cost|_background_cost)$', '') }} = billed_jobs.job_id
    where requests.request_id is null and billed_jobs.job_id is null
    group by merged.usage_hour
)

select
    coalesce(source_hours.usage_hour, staged_hours.usage_hour) as usage_hour,
    source_hours.spend_log_count as source_spend_log_count,
    staged_hours.spend_log_count as staged_spend_log_count,
    source_hours.cost_usd as source_cost_usd,
    staged_hours.cost_usd as staged_cost_usd
from source_hours
full outer join staged_hours on source_hours.usage_hour = staged_hours.usage_hour
where
    coalesce(source_hours.spend_log_count, 0) <> coalesce(staged_hours.spend_log_count, 0)
    or coalesce(source_hours.cost_usd, 0) <> coalesce(staged_hours.cost_usd, 0)

union all

select
    usage_hour,
    spend_log_count as source_spend_log_count,
    0 as staged_spend_log_count,
    null as source_cost_usd,
    null as staged_cost_usd
from copies_without_request
