{% macro private_text(column, setting) %}
    {%- if setting == 'plain' -%}
        {{ return(column) }}
    {%- elif setting == 'hashed' -%}
        {{ return('substring(' ~ sha256_hex(column) ~ ', 1, 16)') }}
    {%- elif setting == 'omitted' -%}
        {{ return('cast(null as ' ~ dbt.type_string() ~ ')') }}
    {%- endif -%}
    {{ exceptions.raise_compiler_error("vars user_email and end_user are plain, hashed or omitted; not: " ~ setting) }}
{% endmacro %}
