{# A statement that creates an index if it is missing, also on an existing table; empty if there is nothing to do. dbt's own `indexes`
   config applies only when the table is created. #}
{% macro wanted_index(relation, name, columns) -%}
    {{ return(adapter.dispatch('wanted_index', 'litellm_cbf')(relation, name, columns)) }}
{%- endmacro %}

{# DuckDB keeps the minimum and maximum of each block of rows, and the loader appends in order of time. #}
{% macro duckdb__wanted_index(relation, name, columns) %}{{ return('') }}{% endmacro %}

{# The catalog is queried first: `create index if not exists` takes a lock that waits for writers and blocks new ones, even if the
   index exists. #}
{% macro postgres__wanted_index(relation, name, columns) %}
    {%- if not is_run() -%}{{ return('') }}{%- endif -%}
    {%- set found = run_query(
        "select 1 from pg_catalog.pg_indexes where schemaname = " ~ sql_text(relation.schema) ~ " and tablename = "
        ~ sql_text(relation.identifier) ~ " and indexname = " ~ sql_text(name)
    ).rows -%}
    {{ return('' if found else 'create index if not exists ' ~ name ~ ' on ' ~ relation ~ ' (' ~ columns | join(', ') ~ ')') }}
{% endmacro %}

{% macro spark__wanted_index(relation, name, columns) %}{{ return('') }}{% endmacro %}
