-- One row per UTC day of the last week, without today, of which LiteLLM's own daily tables have more spend than its spend logs had: they
-- are switched off (disable_spend_logs), or were lost before dbt ran. Only LiteLLM's database has daily tables.
{{ config(materialized='table' if target.type == 'postgres' else 'view') }}

{%- set first_day = run_started_at - modules.datetime.timedelta(days=7) %}
{%- set since = timestamp_literal(first_day.strftime('%Y-%m-%d 00:00:00')) %}
{%- set until = timestamp_literal(run_started_at.strftime('%Y-%m-%d 00:00:00')) %}

with

amounts as (
    {{ litellm_daily_amounts(since=first_day.strftime('%Y-%m-%d')) }}
),

summed as (
    select
        usage_hour,
        cost_usd
    from {{ ref('int_usage__hourly') }}
    where usage_hour >= {{ since }} and usage_hour < {{ until }}
),

-- Spend logs that belong to no line: LiteLLM's daily tables count them.
without_line as (
    select
        usage_hour,
        cost_usd
    from {{ ref('int_usage__rejected_hours') }}
    where usage_hour >= {{ since }} and usage_hour < {{ until }} and warning is null
),

logged as (
    select
        cast(usage_hour as date) as usage_date,
        sum(cost_usd) as cost_usd
    from (
        select * from summed
        union all
        select * from without_line
    ) as each_hour
    group by cast(usage_hour as date)
),

-- Spend from before the first hour is not missing: nobody asked for it.
beginning as (
    select min(usage_hour) as first_hour
    from {{ ref('int_usage__hourly') }}
),

by_table as (
    select
        cast(happened_at as date) as usage_date,
        amount_source,
        sum(cost_usd) as cost_usd
    from amounts
    where happened_at >= {{ since }} and happened_at < {{ until }} and amount_source in ('litellm_daily_user', 'litellm_daily_team')
    group by cast(happened_at as date), amount_source
),

-- The table of users has all requests, that of teams those of a team.
daily as (
    select
        usage_date,
        max(cost_usd) as cost_usd
    from by_table
    group by usage_date
),

final as (
    select
        daily.usage_date,
        daily.cost_usd as daily_cost_usd,
        coalesce(logged.cost_usd, 0) as logged_cost_usd
    from daily
    cross join beginning
    left join logged on daily.usage_date = logged.usage_date
    where
        daily.cost_usd - coalesce(logged.cost_usd, 0) > greatest(0.01, 0.01 * daily.cost_usd)
        and (beginning.first_hour is null or daily.usage_date >= cast(beginning.first_hour as date))
)

select * from final
