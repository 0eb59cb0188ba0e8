{% macro known_provider_prefix(column) -%}
    case when {{ column }} like '%/%' then lower({{ dbt.split_part(column, "'/'", 1) }}) end
{%- endmacro %}
