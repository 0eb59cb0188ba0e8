{# The tag columns of cbf_lines, as a select list. #}
{% macro resource_tag_columns() -%}
    {%- set columns = [] -%}
    {%- for tag, value in resource_tags().items() -%}
        {%- do columns.append(value ~ ' as ' ~ cbf_column('resource/tag:' ~ tag)) -%}
    {%- endfor -%}
    {{ return(columns | join(',\n        ')) }}
{%- endmacro %}
