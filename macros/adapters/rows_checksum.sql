{# An aggregate, as text, that changes when any of these columns changes in any row, whatever order the rows come in. Compared
   with itself on the same engine only. #}
{% macro rows_checksum(columns) -%}
    {{ return(adapter.dispatch('rows_checksum', 'litellm_cbf')(columns)) }}
{%- endmacro %}

{% macro default__rows_checksum(columns) %}{{ unsupported_adapter('rows_checksum') }}{% endmacro %}

{% macro duckdb__rows_checksum(columns) %}
    {{ return("cast(sum(hash(" ~ columns | join(', ') ~ ")) as varchar)") }}
{% endmacro %}

{% macro postgres__rows_checksum(columns) %}
    {{ return("cast(sum(hashtextextended(cast(row(" ~ columns | join(', ') ~ ") as text), 0)) as text)") }}
{% endmacro %}

{% macro spark__rows_checksum(columns) %}
    {{ return("cast(sum(cast(xxhash64(" ~ columns | join(', ') ~ ") as decimal(38, 0))) as string)") }}
{% endmacro %}
