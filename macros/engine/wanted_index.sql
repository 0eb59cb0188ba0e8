{# The statement that makes an index where it is missing, also on a table that was made without it; nothing where it is there, or
   the engine has no use for one. dbt's own `indexes` are made with the table only. #}
{% macro wanted_index(relation, name, columns) -%}
    {{ return(adapter.dispatch('wanted_index', 'litellm_cbf')(relation, name, columns)) }}
{%- endmacro %}

{% macro default__wanted_index(relation, name, columns) %}{{ unsupported_adapter('wanted_index') }}{% endmacro %}

{# It keeps the least and the greatest value of each block of rows, and the loader appends by time. #}
{% macro duckdb__wanted_index(relation, name, columns) %}{{ return('') }}{% endmacro %}

{# Asked first: `create index if not exists` waits for whoever writes to the table, and keeps others waiting, even when the
   index is there. #}
{% macro postgres__wanted_index(relation, name, columns) %}
    {%- if not execute -%}{{ return('') }}{%- endif -%}
    {%- set found = run_query(
        "select 1 from pg_catalog.pg_indexes where schemaname = " ~ sql_text(relation.schema) ~ " and tablename = "
        ~ sql_text(relation.identifier) ~ " and indexname = " ~ sql_text(name)
    ).rows -%}
    {{ return('' if found else 'create index if not exists ' ~ name ~ ' on ' ~ relation ~ ' (' ~ columns | join(', ') ~ ')') }}
{% endmacro %}

{% macro spark__wanted_index(relation, name, columns) %}{{ return('') }}{% endmacro %}
