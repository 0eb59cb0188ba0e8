{# A text as the vars user_email and end_user require: as it is, as the first 16 hex digits of its SHA-256, or null. #}
{% macro private_text(column, setting) %}
    {%- if setting == 'plain' -%}
        {{ return(column) }}
    {%- elif setting == 'hashed' -%}
        {{ return('substring(' ~ sha256_hex(column) ~ ', 1, 16)') }}
    {%- elif setting == 'omitted' -%}
        {{ return('cast(null as ' ~ dbt.type_string() ~ ')') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error("vars user_email and end_user: '" ~ setting ~ "' is not valid. Each must be one of plain, hashed, omitted.") }}
{% endmacro %}
