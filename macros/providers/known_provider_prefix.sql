{# The part of a model before its first slash, in lower case; null if there is no slash. #}
{% macro known_provider_prefix(column) -%}
    case when {{ column }} like '%/%' then lower(split_part({{ column }}, '/', 1)) end
{%- endmacro %}
