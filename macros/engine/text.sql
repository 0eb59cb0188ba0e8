{# Every match is replaced. PostgreSQL and DuckDB replace the first one only unless told otherwise. #}
{% macro regexp_replace_all(column, pattern, replacement) -%}
    {{ return(adapter.dispatch('regexp_replace_all', 'litellm_cbf')(column, pattern, replacement)) }}
{%- endmacro %}

{% macro default__regexp_replace_all(column, pattern, replacement) %}{{ unsupported_adapter('regexp_replace_all') }}{% endmacro %}

{% macro duckdb__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", '" ~ pattern ~ "', '" ~ replacement ~ "', 'g')") }}
{% endmacro %}

{% macro postgres__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", '" ~ pattern ~ "', '" ~ replacement ~ "', 'g')") }}
{% endmacro %}


{% macro sha256_hex(column) -%}
    {{ return(adapter.dispatch('sha256_hex', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro default__sha256_hex(column) %}{{ unsupported_adapter('sha256_hex') }}{% endmacro %}

{% macro duckdb__sha256_hex(column) %}{{ return("sha256(" ~ column ~ ")") }}{% endmacro %}

{% macro postgres__sha256_hex(column) %}
    {{ return("encode(sha256(convert_to(" ~ column ~ ", 'UTF8')), 'hex')") }}
{% endmacro %}


{# Text is compared by its bytes: a database's own collation would order, and so choose, differently. #}
{% macro by_bytes(column) -%}
    {{ return(adapter.dispatch('by_bytes', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro default__by_bytes(column) %}{{ unsupported_adapter('by_bytes') }}{% endmacro %}

{% macro duckdb__by_bytes(column) %}{{ return(column) }}{% endmacro %}

{% macro postgres__by_bytes(column) %}{{ return(column ~ ' collate "C"') }}{% endmacro %}

{% macro spark__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", " ~ sql_text(pattern) ~ ", " ~ sql_text(replacement) ~ ")") }}
{% endmacro %}

{% macro spark__sha256_hex(column) %}{{ return("sha2(" ~ column ~ ", 256)") }}{% endmacro %}

{% macro spark__by_bytes(column) %}{{ return(column) }}{% endmacro %}


{# A text as a literal. On Spark a backslash escapes what follows it. #}
{% macro sql_text(value) -%}
    {{ return(adapter.dispatch('sql_text', 'litellm_cbf')(value)) }}
{%- endmacro %}

{% macro default__sql_text(value) %}{{ unsupported_adapter('sql_text') }}{% endmacro %}

{% macro duckdb__sql_text(value) %}{{ return("'" ~ (value | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{% macro postgres__sql_text(value) %}{{ return("'" ~ (value | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{% macro spark__sql_text(value) %}
    {{ return("'" ~ (value | string | replace("\\", "\\\\") | replace("'", "\\'")) ~ "'") }}
{% endmacro %}
