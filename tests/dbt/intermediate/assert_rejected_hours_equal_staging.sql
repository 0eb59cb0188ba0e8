-- Money and requests in = out, hour by hour over the lookback window: every spend log that is rejected, merged or has a warning is counted once. Hours with
-- requests that arrived, or could have arrived, since the last run began are not compared.
with

rejected as (
    select
        coalesce(spend_logs.usage_hour, {{ hour_without_start() }}) as usage_hour,
        spend_logs.cost_usd,
        coalesce(spend_logs.landed_at, spend_logs.started_at + interval '2 hours', as_of.built_at) <= as_of.built_at as is_settled
    from {{ ref('base_litellm__identified_spend_logs') }} as spend_logs
    cross join {{ ref('cbf_as_of') }} as as_of
    where
        coalesce(spend_logs.merge_reason, spend_logs.rejection_reason, spend_logs.warning) is not null
        and (
            {{ starts_within(usage_window_start(load_kept_hours()), none, 'spend_logs') }}
            {%- if start_can_be_missing() %}
            or spend_logs.started_at is null
            {%- endif %}
        )
),

rejected_hours as (
    select
        usage_hour,
        count(*) as request_count,
        sum(coalesce(cost_usd, 0)) as cost_usd,
        min(case when is_settled then 1 else 0 end) as settled
    from rejected
    group by usage_hour
),

counted_hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        sum(cost_usd) as cost_usd
    from {{ ref('int_usage__rejected_hours') }}
    where
        request_count > 0
        and (
            {{ is_within('usage_hour', usage_window_start(load_kept_hours()), none) }}
            or usage_hour = {{ hour_without_start() }}
        )
    group by usage_hour
)

select
    coalesce(rejected_hours.usage_hour, counted_hours.usage_hour) as usage_hour,
    rejected_hours.request_count,
    counted_hours.request_count as counted_request_count,
    rejected_hours.cost_usd,
    counted_hours.cost_usd as counted_cost_usd
from rejected_hours
full outer join counted_hours on rejected_hours.usage_hour = counted_hours.usage_hour
where
    (rejected_hours.settled = 1 or rejected_hours.usage_hour is null)
    and (
        rejected_hours.usage_hour is null
        or counted_hours.usage_hour is null
        or rejected_hours.request_count <> counted_hours.request_count
        or rejected_hours.cost_usd <> counted_hours.cost_usd
    )
