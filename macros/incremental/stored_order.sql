{# The order in which rows are stored, so that those of an hour lie together: then DuckDB finds the hour by the statistics of its
   row groups, also where one run has summed a long history, and PostgreSQL finds it in few pages. #}
{% macro stored_order(column) -%}
    {{ return(adapter.dispatch('stored_order', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__stored_order(column) %}{{ return('order by ' ~ column) }}{% endmacro %}

{% macro postgres__stored_order(column) %}{{ return('order by ' ~ column) }}{% endmacro %}

{# Days are folders there. #}
{% macro spark__stored_order(column) %}{{ return('') }}{% endmacro %}
