{% macro usd_type() -%}
    decimal(38, 18)
{%- endmacro %}
