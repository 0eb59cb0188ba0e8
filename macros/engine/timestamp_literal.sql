{# A time, given as text, as a timestamp literal. Times are UTC throughout and have no offset. #}
{% macro timestamp_literal(text) -%}
    timestamp {{ sql_text(text) }}
{%- endmacro %}
