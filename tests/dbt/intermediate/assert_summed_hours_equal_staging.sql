-- Money, tokens and requests in = out, hour by hour: the last run summed each request of its hours once. Hours that
-- were written to, or cut by retention, since the run began are not compared.
with

staged_hours as (
    {{ usage_by_hour() }}
),

summed_hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens
    from {{ ref('int_usage__summed_hours') }}
    group by usage_hour
)

select
    summed_hours.usage_hour,
    staged_hours.request_count as staged_request_count,
    summed_hours.request_count as summed_request_count,
    staged_hours.cost_usd as staged_cost_usd,
    summed_hours.cost_usd as summed_cost_usd
from summed_hours
inner join staged_hours on summed_hours.usage_hour = staged_hours.usage_hour
where
    staged_hours.is_settled
    and staged_hours.first_started_at <= summed_hours.first_started_at
    and (
        summed_hours.request_count <> staged_hours.request_count
        or summed_hours.cost_usd <> staged_hours.cost_usd
        or summed_hours.total_tokens <> staged_hours.total_tokens
    )
