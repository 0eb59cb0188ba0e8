-- Money, tokens, requests and rows in = out, hour by hour: joining names neither duplicates nor loses a row. An hour that was kept
-- because its new sum covers fewer of its requests may hold more; one with the checksum of the new sum was replaced, and must be equal to it.
with

summed_hours as (
    select
        usage_hour,
        count(*) as row_count,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens,
        max(source_checksum) as source_checksum
    from {{ ref('int_usage__summed_hours') }}
    where request_count > 0
    group by usage_hour
),

hours as (
    select
        usage_hour,
        count(*) as row_count,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens,
        max(source_checksum) as source_checksum
    from {{ ref('int_usage__hourly') }}
    group by usage_hour
),

compared as (
    select
        summed_hours.usage_hour,
        summed_hours.request_count as summed_request_count,
        hours.request_count,
        summed_hours.cost_usd as summed_cost_usd,
        hours.cost_usd,
        coalesce(
            summed_hours.row_count = hours.row_count
            and summed_hours.request_count = hours.request_count
            and summed_hours.cost_usd = hours.cost_usd
            and summed_hours.total_tokens = hours.total_tokens,
            false
        ) as is_equal,
        coalesce(
            (summed_hours.request_count < hours.request_count or {{ dbt.date_trunc('second', 'summed_hours.first_started_at') }} > hours.first_started_at)
            and coalesce(summed_hours.source_checksum, 'new') <> coalesce(hours.source_checksum, 'kept'),
            false
        ) as is_kept
    from summed_hours
    left join hours on summed_hours.usage_hour = hours.usage_hour
)

select * from compared
where not is_equal and not is_kept
