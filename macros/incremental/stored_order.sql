{# An order by clause that stores the rows of an hour together, so that DuckDB finds an hour by the statistics of its row groups, even if
   one run summed a long history, and PostgreSQL finds it in few pages. #}
{% macro stored_order(column) -%}
    {{ return(adapter.dispatch('stored_order', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__stored_order(column) %}{{ return('order by ' ~ column) }}{% endmacro %}

{% macro postgres__stored_order(column) %}{{ return('order by ' ~ column) }}{% endmacro %}

{# On Spark, each day is a folder of its own. #}
{% macro spark__stored_order(column) %}{{ return('') }}{% endmacro %}
