-- One row: when the run of dbt began that last summed usage, or where var load_until made it stop. Hours that ended before
-- it are complete.
{{ config(materialized='table') }}

{%- set run_start = timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) %}
{%- set summed_until = 'least(' ~ timestamp_literal(load_until()) ~ ', ' ~ run_start ~ ')' if load_until() else run_start %}

with

-- Stands here so that dbt builds this last; a run that failed before that leaves this row as it was.
summed_hours as (
    select * from {{ ref('cbf_hours') }}
    where false
),

final as (
    select {{ summed_until }} as built_at
    where not exists (select 1 from summed_hours)
)

select * from final
