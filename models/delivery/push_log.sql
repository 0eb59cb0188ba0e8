-- One row per UTC hour and event of a push: an attempt began, or how it ended. The loader appends rows; nothing is ever changed or
-- deleted, not even by --full-refresh, so that no hour is sent twice or forgotten.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    on_schema_change='append_new_columns',
    contract={'enforced': true},
    pre_hook="{{ declare_types() }}",
    indexes=[{'columns': ['connection_id', 'api_url', 'usage_hour']}],
    post_hook="{{ wanted_index(this, 'push_log_recorded_at', ['connection_id', 'api_url', 'recorded_at']) }}",
) }}

with

final as (
    select
        cast(null as {{ dbt.type_string() }}) as connection_id,
        cast(null as {{ dbt.type_string() }}) as api_url,
        cast(null as {{ dbt.type_bigint() }}) as sequence,
        cast(null as timestamp) as usage_hour,
        cast(null as {{ dbt.type_string() }}) as push_id,
        cast(null as {{ dbt.type_string() }}) as operation,
        cast(null as {{ dbt.type_string() }}) as outcome,
        cast(null as {{ dbt.type_string() }}) as fingerprint,
        cast(null as {{ dbt.type_bigint() }}) as line_count,
        cast(null as {{ usd_type() }}) as cost_usd,
        cast(null as {{ dbt.type_bigint() }}) as byte_count,
        cast(null as {{ usd_type() }}) as cost_of_all_streams_usd,
        cast(null as {{ dbt.type_string() }}) as drop_id,
        cast(null as {{ dbt.type_string() }}) as detail,
        cast(null as timestamp) as recorded_at
)

select * from final
where false
