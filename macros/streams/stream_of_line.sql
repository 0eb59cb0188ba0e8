{# The stream of a row of cbf_lines, as SQL: its column `stream`, or the empty name if there is only one stream. #}
{% macro stream_of_line() -%}
    {{ return('stream' if project_var('streams') else "cast('' as " ~ dbt.type_string() ~ ")") }}
{%- endmacro %}
