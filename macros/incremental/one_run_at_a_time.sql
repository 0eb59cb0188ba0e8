{# A statement that runs before a model's own, in its transaction: another run of dbt that changes the same hours waits until this one
   has committed. Otherwise both would delete the rows that they see and insert their own, and the hours would be stored twice. Empty
   where the engine lets only one process write (DuckDB), has no lock to offer (Spark: docs/spark.md) or the table (`relation`) does not exist yet. #}
{% macro one_run_at_a_time(relation) -%}
    {{ return(adapter.dispatch('one_run_at_a_time', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{% macro duckdb__one_run_at_a_time(relation) %}{{ return('') }}{% endmacro %}

{# Readers are not blocked. #}
{% macro postgres__one_run_at_a_time(relation) %}
    {%- set exists = relation is not none and load_cached_relation(relation) is not none -%}
    {{ return('lock table ' ~ relation ~ ' in share row exclusive mode' if exists else '') }}
{% endmacro %}

{% macro spark__one_run_at_a_time(relation) %}{{ return('') }}{% endmacro %}
