{# A text, or null if it is empty or consists of spaces. Nothing else is trimmed. #}
{% macro blank_to_null(column) -%}
    case when trim({{ column }}) <> '' then {{ column }} end
{%- endmacro %}
