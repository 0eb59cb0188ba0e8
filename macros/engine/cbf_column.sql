{# A column name of CloudZero's Common Bill Format. These contain slashes and colons, so they must be quoted. #}
{% macro cbf_column(name) -%}
    {{ adapter.quote(name) }}
{%- endmacro %}
