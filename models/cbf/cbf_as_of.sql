-- One row: when the last successful run of dbt began, or var load_until if that is earlier, and where it looked for spend logs.
-- Hours that ended before then are complete.
{{ config(materialized='table') }}

{%- set logs = spend_log_source(source('litellm', 'spend_logs')) %}
{%- set run_start = timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) %}
{%- set summed_until = 'least(' ~ timestamp_literal(load_until()) ~ ', ' ~ run_start ~ ')' if load_until() else run_start %}

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

final as (
    select
        {{ summed_until }} as built_at,
        cast({{ sql_text(logs.description) }} as {{ dbt.type_string() }}) as spend_log_source,
        cast({{ logs.files if logs.files is not none else 'null' }} as {{ dbt.type_bigint() }}) as spend_log_files
    where not exists (select 1 from summed_hours) and not exists (select 1 from rejected_hours)
)

select * from final
