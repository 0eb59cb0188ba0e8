-- Money in = money out, hour by hour, over the hours that the last run read again. An hour that holds more requests
-- than the source does now is history that outlived it. Rows that landed after the run began are not its business;
-- where LiteLLM does not say when a row landed, hours that had just ended are left to the next run.
with

spend_logs as (
    select
        spend_logs.usage_hour,
        spend_logs.cost_usd
    from {{ ref('stg_litellm__spend_logs') }} as spend_logs
    cross join {{ ref('cbf_as_of') }} as as_of
    where
        spend_logs.rejection_reason is null
        and spend_logs.cost_usd <> 0
        and coalesce(spend_logs.landed_at, spend_logs.started_at + interval '2 hours') <= as_of.built_at
        {%- if load_until() %}
        and spend_logs.started_at < {{ load_until() }}
        {%- endif %}
        {%- if is_run() %}
        {%- set window_start = usage_window_start(ref('int_usage__hourly')) %}
        {%- if window_start %}
        and spend_logs.started_at >= {{ dbt.cast(sql_text(window_start), 'timestamp') }}
        {%- endif %}
        {%- endif %}
),

source_hours as (
    select
        usage_hour,
        sum(cost_usd) as cost_usd
    from spend_logs
    group by usage_hour
),

summed_hours as (
    select
        usage_hour,
        sum(cost_usd) as cost_usd
    from {{ ref('int_usage__hourly') }}
    group by usage_hour
)

select
    source_hours.usage_hour,
    source_hours.cost_usd as source_cost_usd,
    summed_hours.cost_usd as summed_cost_usd
from source_hours
left join summed_hours on source_hours.usage_hour = summed_hours.usage_hour
where source_hours.cost_usd > coalesce(summed_hours.cost_usd, 0)
