{# Through the double's shortest text: a direct cast keeps 15 digits on PostgreSQL and the binary value on
   DuckDB, so the same spend would differ between engines. #}
{% macro exact_usd(column) -%}
    cast({{ shortest_text(column) }} as {{ usd_type() }})
{%- endmacro %}
