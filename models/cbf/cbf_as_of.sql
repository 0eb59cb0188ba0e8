-- One row: when the last successful run of dbt began, or var load_until if that is earlier, what it knew, and where it looked for spend logs.
-- Hours that ended before then are complete.
{{ config(materialized='table') }}

{%- set logs = spend_log_source(source('litellm', 'spend_logs')) %}
{%- set run_start = timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) %}
{%- set known = newest_known_hour() if is_run() else none %}

with

-- These two make dbt build the model last. A run that fails before it leaves the row as it was.
summed_hours as (
    select * from {{ ref('cbf_hours') }}
    where false
),

rejected_hours as (
    select * from {{ ref('int_usage__rejected_hours') }}
    where false
),

-- The newest hour that this run stored. Hours that have not begun say nothing about which spend logs have arrived.
stored_hours as (
    select max(usage_hour) as newest_hour
    from {{ ref('int_usage__hourly') }}
    where
        usage_hour <= {{ run_start }}
        and {{ is_within('usage_hour', known, none) }}
        and invocation_id = {{ sql_text(invocation_id) }}
),

known as (
    select {% if known %}coalesce(newest_hour, {{ timestamp_literal(known) }}) as {% endif %}newest_hour
    from stored_hours
),

final as (
    select
        {{ summed_until() }} as built_at,
        newest_hour,
        newest_hour - interval '{{ project_var('lookback_hours') }} hours' as lookback_start,
        cast({{ sql_text(logs.description) }} as {{ dbt.type_string() }}) as spend_log_source,
        cast({{ logs.files if logs.files is not none else 'null' }} as {{ dbt.type_bigint() }}) as spend_log_files
    from known
    where not exists (select 1 from summed_hours) and not exists (select 1 from rejected_hours)
)

select * from final
