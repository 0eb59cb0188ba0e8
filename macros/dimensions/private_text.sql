{# A text as the vars user_email and end_user require: as it is (plain), as the first 16 hex digits of its SHA-256 (hashed), or null
   (omitted). #}
{% macro private_text(column, setting) %}
    {%- if setting == 'plain' -%}
        {{ return(column) }}
    {%- elif setting == 'hashed' -%}
        {{ return('substring(' ~ sha256_hex(column) ~ ', 1, 16)') }}
    {%- endif -%}
    {{ return('cast(null as ' ~ dbt.type_string() ~ ')') }}
{% endmacro %}
