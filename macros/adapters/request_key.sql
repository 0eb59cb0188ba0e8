{# What makes two spend-log rows the same request. In PostgreSQL request_id is the table's primary key, or together
   with "startTime" where the table is partitioned: naming both lets a range of time reach the index. Files can
   repeat a request_id, so there it stands alone. #}
{% macro request_key() -%}
    {{ return(adapter.dispatch('request_key', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro default__request_key() %}{{ unsupported_adapter('request_key') }}{% endmacro %}

{% macro duckdb__request_key() %}{{ return(['request_id']) }}{% endmacro %}

{% macro postgres__request_key() %}{{ return(['request_id', 'started_at']) }}{% endmacro %}

{% macro spark__request_key() %}{{ return(['request_id']) }}{% endmacro %}
