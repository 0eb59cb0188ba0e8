{# A statement that gathers the statistics of a table that was just built; empty where the engine keeps them itself. Without them, PostgreSQL
   would plan joins on guesses until autovacuum comes round. #}
{% macro analyze_table(relation) -%}
    {{ return(adapter.dispatch('analyze_table', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{% macro duckdb__analyze_table(relation) %}{{ return('') }}{% endmacro %}

{% macro postgres__analyze_table(relation) %}{{ return('analyze ' ~ relation) }}{% endmacro %}

{% macro spark__analyze_table(relation) %}{{ return('') }}{% endmacro %}
