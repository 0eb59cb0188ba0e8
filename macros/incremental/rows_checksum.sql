{# Aggregate: a text that changes if any of these columns changes in any row, whatever the order of the rows. It can be compared only with
   one from the same engine. #}
{% macro rows_checksum(columns) -%}
    {{ return(adapter.dispatch('rows_checksum', 'litellm_cbf')(columns)) }}
{%- endmacro %}

{% macro duckdb__rows_checksum(columns) %}
    {{ return("cast(sum(hash(" ~ columns | join(', ') ~ ")) as varchar)") }}
{% endmacro %}

{# Before PostgreSQL 14, the only hash of a row is that of its text, which takes half as long again. #}
{% macro postgres__rows_checksum(columns) %}
    {%- set rows_have_hashes = run_query("select current_setting('server_version_num')::int >= 140000").rows[0][0] if is_run() else true -%}
    {%- set row = 'row(' ~ columns | join(', ') ~ ')' -%}
    {%- set hash = 'hash_record_extended(' ~ row if rows_have_hashes else 'hashtextextended(cast(' ~ row ~ ' as text)' -%}
    {{ return('cast(sum(' ~ hash ~ ', 0)) as text)') }}
{% endmacro %}

{% macro spark__rows_checksum(columns) %}
    {{ return("cast(sum(cast(xxhash64(" ~ columns | join(', ') ~ ") as decimal(38, 0))) as string)") }}
{% endmacro %}
