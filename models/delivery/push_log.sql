-- One row per UTC hour and event of a push: a try has begun, or has ended, and how. The loader appends; nothing is
-- changed or deleted, also by --full-refresh, so that no hour is sent twice or forgotten.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    full_refresh=false,
    on_schema_change='append_new_columns',
    contract={'enforced': true},
    indexes=[{'columns': ['connection_id', 'api_url', 'usage_hour']}],
) }}

{%- set columns = {
    'connection_id': dbt.type_string(), 'api_url': dbt.type_string(), 'sequence': dbt.type_bigint(), 'usage_hour': 'timestamp',
    'push_id': dbt.type_string(), 'operation': dbt.type_string(), 'outcome': dbt.type_string(), 'fingerprint': dbt.type_string(),
    'line_count': dbt.type_bigint(), 'cost_usd': usd_type(), 'byte_count': dbt.type_bigint(), 'drop_id': dbt.type_string(),
    'detail': dbt.type_string(), 'recorded_at': 'timestamp',
} %}

with

final as (
    select
        {%- for name, type in columns.items() %}
        cast(null as {{ type }}) as {{ name }}{{ ',' if not loop.last }}
        {%- endfor %}
)

select * from final
where false
