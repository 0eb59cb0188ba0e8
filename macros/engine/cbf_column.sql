{% macro cbf_column(name) -%}
    {{ adapter.quote(name) }}
{%- endmacro %}
