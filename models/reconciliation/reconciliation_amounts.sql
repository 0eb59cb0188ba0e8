-- One row per amount of money and the place it comes from: spend logs, LiteLLM's daily tables, hours, lines.
-- Nothing is summed here, so that a range of happened_at can use each place's own index.
with

-- Each CTE is used once: PostgreSQL would materialize one that is used twice, and read the whole table for it.
spend_logs as (
    select * from {{ ref('stg_litellm__spend_logs') }}
    where started_at is not null and cost_usd is not null
),

rejected as (
    select * from {{ ref('stg_litellm__spend_logs') }}
    where started_at is not null and cost_usd is not null and rejection_reason is not null
),

usage_hours as (
    select * from {{ ref('int_usage__hourly') }}
),

left_out as (
    select * from {{ ref('int_usage__hourly') }}
    where not ({{ is_sent_provider('provider') }})
),

lines as (
    select * from {{ ref('cbf_lines') }}
),

litellm_daily as (
    {{ litellm_daily_amounts() }}
),

final as (
    select
        cast('spend_logs' as {{ dbt.type_string() }}) as amount_source,
        started_at as happened_at,
        cost_usd
    from spend_logs

    union all

    select
        cast('rejected' as {{ dbt.type_string() }}) as amount_source,
        started_at as happened_at,
        cost_usd
    from rejected

    union all

    select
        amount_source,
        happened_at,
        cost_usd
    from litellm_daily

    union all

    select
        cast('hours' as {{ dbt.type_string() }}) as amount_source,
        usage_hour as happened_at,
        cost_usd
    from usage_hours

    union all

    select
        cast('left_out' as {{ dbt.type_string() }}) as amount_source,
        usage_hour as happened_at,
        cost_usd
    from left_out

    union all

    select
        cast('lines' as {{ dbt.type_string() }}) as amount_source,
        {{ cbf_column('time/usage_start') }} as happened_at,
        {{ cbf_column('cost/cost') }} as cost_usd
    from lines
)

select * from final
