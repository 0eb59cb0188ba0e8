-- One row per run of dbt and phase: it began, or it ended. The hooks of this project append them; nothing is ever changed or deleted, so that
-- a run can compare its settings with those of the last one, and a push can tell whether the models fit together.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    on_schema_change='append_new_columns',
    contract={'enforced': true},
    pre_hook="{{ declare_types() }}",
    indexes=[{'columns': ['sequence']}],
) }}

with

final as (
    select
        cast(null as {{ dbt.type_bigint() }}) as sequence,
        cast(null as {{ dbt.type_string() }}) as run_id,
        cast(null as {{ dbt.type_string() }}) as phase,
        cast(null as {{ dbt.type_string() }}) as command,
        cast(null as {{ dbt.type_string() }}) as models,
        cast(null as {{ dbt.type_string() }}) as run_settings,
        cast(null as {{ dbt.type_string() }}) as changes,
        cast(null as timestamp) as recorded_at
)

select * from final
where false
