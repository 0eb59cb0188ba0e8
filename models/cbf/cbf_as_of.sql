-- One row: when the last successful run of dbt began, or var load_until if that is earlier. Hours that ended before then are
-- complete.
{{ config(materialized='table') }}

{%- set run_start = timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) %}
{%- set summed_until = 'least(' ~ timestamp_literal(load_until()) ~ ', ' ~ run_start ~ ')' if load_until() else run_start %}

with

-- This makes dbt build the model last. A run that fails before it leaves the row as it was.
summed_hours as (
    select * from {{ ref('cbf_hours') }}
    where false
),

final as (
    select {{ summed_until }} as built_at
    where not exists (select 1 from summed_hours)
)

select * from final
