{# Replaces every match. PostgreSQL and DuckDB replace only the first one unless the flag 'g' is given. #}
{% macro regexp_replace_all(column, pattern, replacement) -%}
    {{ return(adapter.dispatch('regexp_replace_all', 'litellm_cbf')(column, pattern, replacement)) }}
{%- endmacro %}

{% macro duckdb__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", '" ~ pattern ~ "', '" ~ replacement ~ "', 'g')") }}
{% endmacro %}

{% macro postgres__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", '" ~ pattern ~ "', '" ~ replacement ~ "', 'g')") }}
{% endmacro %}

{% macro spark__regexp_replace_all(column, pattern, replacement) %}
    {{ return("regexp_replace(" ~ column ~ ", " ~ sql_text(java_pattern(pattern)) ~ ", " ~ sql_text(replacement) ~ ")") }}
{% endmacro %}

{# A regular expression of which a final `$` means the end of the text, as in RE2 and PostgreSQL: in Java, `$` also comes before a last
   line break. #}
{% macro java_pattern(pattern) %}{{ return(pattern[:-1] ~ '\\z' if pattern.endswith('$') else pattern) }}{% endmacro %}


{# The SHA-256 of a text in UTF-8, as 64 hex digits. #}
{% macro sha256_hex(column) -%}
    {{ return(adapter.dispatch('sha256_hex', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__sha256_hex(column) %}{{ return("sha256(" ~ column ~ ")") }}{% endmacro %}

{% macro postgres__sha256_hex(column) %}
    {{ return("encode(sha256(convert_to(" ~ column ~ ", 'UTF8')), 'hex')") }}
{% endmacro %}

{% macro spark__sha256_hex(column) %}{{ return("sha2(" ~ column ~ ", 256)") }}{% endmacro %}


{# A text that compares by its bytes. The database's own collation could order values differently and so choose another one. #}
{% macro by_bytes(column) -%}
    {{ return(adapter.dispatch('by_bytes', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__by_bytes(column) %}{{ return(column) }}{% endmacro %}

{% macro postgres__by_bytes(column) %}{{ return(column ~ ' collate "C"') }}{% endmacro %}

{% macro spark__by_bytes(column) %}{{ return(column) }}{% endmacro %}


{# A value as a text literal. On Spark, a backslash is an escape character. #}
{% macro sql_text(value) -%}
    {{ return(adapter.dispatch('sql_text', 'litellm_cbf')(value)) }}
{%- endmacro %}

{% macro duckdb__sql_text(value) %}{{ return("'" ~ (value | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{% macro postgres__sql_text(value) %}{{ return("'" ~ (value | string | replace("'", "''")) ~ "'") }}{% endmacro %}

{% macro spark__sql_text(value) %}
    {{ return("'" ~ (value | string | replace("\\", "\\\\") | replace("'", "\\'")) ~ "'") }}
{% endmacro %}
