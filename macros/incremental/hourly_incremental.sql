{# The incremental strategy that replaces the rows of an hour that was built again. #}
{% macro hourly_incremental_strategy() -%}
    {{ return(adapter.dispatch('hourly_incremental_strategy', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__hourly_incremental_strategy() %}{{ return('replace_hours') }}{% endmacro %}

{% macro postgres__hourly_incremental_strategy() %}{{ return('replace_hours') }}{% endmacro %}

{% macro spark__hourly_incremental_strategy() %}{{ return('insert_overwrite') }}{% endmacro %}


{# The column that a table of hours is partitioned by, its day; none if it is not partitioned. #}
{% macro day_partition() -%}
    {{ return(adapter.dispatch('day_partition', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__day_partition() %}{{ return(none) }}{% endmacro %}

{% macro postgres__day_partition() %}{{ return(none) }}{% endmacro %}

{% macro spark__day_partition() %}{{ return('usage_date') }}{% endmacro %}
