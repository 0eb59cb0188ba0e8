{# A statement before a model's own, in its transaction: another run of dbt that changes the same hours waits until this one is
   through. Else both would delete what they see and insert their own, and the hours were there twice. Nothing where the
   engine lets one process write at a time (DuckDB) or has no lock to offer (Spark: docs/spark.md). #}
{% macro one_run_at_a_time(relation) -%}
    {{ return(adapter.dispatch('one_run_at_a_time', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{% macro duckdb__one_run_at_a_time(relation) %}{{ return('') }}{% endmacro %}

{# Readers are let through. #}
{% macro postgres__one_run_at_a_time(relation) %}
    {{ return('lock table ' ~ relation ~ ' in share row exclusive mode' if load_cached_relation(relation) else '') }}
{% endmacro %}

{% macro spark__one_run_at_a_time(relation) %}{{ return('') }}{% endmacro %}
