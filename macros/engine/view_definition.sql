{# The SQL text that defines a view in the warehouse; empty if there is no such view. #}
{% macro view_definition(relation) -%}
    {{ return(adapter.dispatch('view_definition', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{% macro duckdb__view_definition(relation) %}
    {%- set found = run_query(
        "select sql from duckdb_views() where schema_name = " ~ sql_text(relation.schema) ~ " and view_name = " ~ sql_text(relation.identifier)
    ).rows -%}
    {{ return(found[0][0] if found else '') }}
{% endmacro %}

{% macro postgres__view_definition(relation) %}
    {%- set found = run_query(
        "select definition from pg_catalog.pg_views where schemaname = " ~ sql_text(relation.schema) ~ " and viewname = "
        ~ sql_text(relation.identifier)
    ).rows -%}
    {{ return(found[0][0] if found else '') }}
{% endmacro %}

{% macro spark__view_definition(relation) %}
    {%- if not load_relation(relation) -%}{{ return('') }}{%- endif -%}
    {%- set found = run_query('describe table extended ' ~ relation).rows | selectattr(0, 'equalto', 'View Text') | list -%}
    {{ return(found[0][1] if found else '') }}
{% endmacro %}
