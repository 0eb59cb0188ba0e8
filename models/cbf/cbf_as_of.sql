-- One row: when the run of dbt began that last summed usage. Hours that ended before it are complete.
{{ config(materialized='table') }}

with

-- Stands here so that dbt builds this last; a run that failed before that leaves this row as it was.
summed_hours as (
    select * from {{ ref('cbf_hours') }}
    where false
),

final as (
    select cast({{ sql_text(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) }} as timestamp) as built_at
    where not exists (select 1 from summed_hours)
)

select * from final
