{# A text without control characters and without blanks around it; null where nothing is left, or where it is \N, as exports write
   a null. #}
{% macro clean_text(column) -%}
    nullif(nullif(trim({{ without_control_characters(column) }}), ''), {{ sql_text('\\N') }})
{%- endmacro %}


{# A text without its control characters (Unicode's Cc). #}
{% macro without_control_characters(column) -%}
    {{ return(adapter.dispatch('without_control_characters', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__without_control_characters(column) %}
    {{ return("regexp_replace(" ~ column ~ ", '[\\x00-\\x1f\\x7f-\\x{9f}]', '', 'g')") }}
{% endmacro %}

{# In another encoding than UTF8 a character is a byte, and bytes from 80 on are parts of letters. PostgreSQL has no NUL in texts. #}
{% macro postgres__without_control_characters(column) %}
    {%- set encoding = run_query("show server_encoding").rows[0][0] if is_run() else 'UTF8' -%}
    {%- set characters = '[\\u0001-\\u001f\\u007f-\\u009f]' if encoding == 'UTF8' else '[\\x01-\\x1f\\x7f]' -%}
    {{ return("regexp_replace(" ~ column ~ ", '" ~ characters ~ "', '', 'g')") }}
{% endmacro %}

{% macro spark__without_control_characters(column) %}
    {{ return("regexp_replace(" ~ column ~ ", " ~ sql_text('[\\x00-\\x1f\\x7f-\\x{9f}]') ~ ", '')") }}
{% endmacro %}


{# The first group of the first match of a regular expression; null where there is none. #}
{% macro regexp_group(column, pattern) -%}
    {{ return(adapter.dispatch('regexp_group', 'litellm_cbf')(column, pattern)) }}
{%- endmacro %}

{% macro duckdb__regexp_group(column, pattern) %}
    {{ return("nullif(regexp_extract(" ~ column ~ ", " ~ sql_text(pattern) ~ ", 1), '')") }}
{% endmacro %}

{% macro postgres__regexp_group(column, pattern) %}
    {{ return("nullif(substring(" ~ column ~ " from " ~ sql_text(pattern) ~ "), '')") }}
{% endmacro %}

{% macro spark__regexp_group(column, pattern) %}
    {{ return("nullif(regexp_extract(" ~ column ~ ", " ~ sql_text(java_pattern(pattern)) ~ ", 1), '')") }}
{% endmacro %}


{# Whether a text matches a regular expression; null where it is null. #}
{% macro regexp_matches(column, pattern) -%}
    {{ return(adapter.dispatch('regexp_matches', 'litellm_cbf')(column, pattern)) }}
{%- endmacro %}

{% macro duckdb__regexp_matches(column, pattern) %}{{ return("regexp_matches(" ~ column ~ ", " ~ sql_text(pattern) ~ ")") }}{% endmacro %}

{% macro postgres__regexp_matches(column, pattern) %}{{ return(column ~ " ~ " ~ sql_text(pattern)) }}{% endmacro %}

{% macro spark__regexp_matches(column, pattern) %}{{ return(column ~ " rlike " ~ sql_text(java_pattern(pattern))) }}{% endmacro %}


{# Whether a text is one of these; null where it is null. DuckDB turns a longer `in` into a join, even inside of a case, and a join for
   each column costs more than reading the files. #}
{% macro is_one_of(column, texts) -%}
    {{ return(adapter.dispatch('is_one_of', 'litellm_cbf')(column, texts)) }}
{%- endmacro %}

{% macro default__is_one_of(column, texts) %}
    {%- set literals = [] -%}
    {%- for text in texts -%}{%- do literals.append(sql_text(text)) -%}{%- endfor -%}
    {{ return(column ~ " in (" ~ literals | join(', ') ~ ")") }}
{% endmacro %}

{% macro duckdb__is_one_of(column, texts) %}
    {%- set patterns = [] -%}
    {%- for text in texts -%}{%- do patterns.append(modules.re.escape(text)) -%}{%- endfor -%}
    {{ return("regexp_full_match(" ~ column ~ ", " ~ sql_text(patterns | join('|')) ~ ")") }}
{% endmacro %}
