{# Adds the tag columns of custom dimensions, and the column `stream` if there are several streams, to the contract of cbf_lines, because
   YAML can list only columns that always exist. It runs as the model's pre-hook, where dbt checks the contract against `model`. #}
{% macro declare_custom_dimensions() %}
    {%- for dimension in line_dimensions() if dimension.is_custom -%}
        {%- set name = 'resource/tag:' ~ dimension.tag -%}
        {%- do model['columns'].update({name: {'name': name, 'data_type': 'text', 'quote': true, 'constraints': []}}) -%}
    {%- endfor -%}
    {%- if project_var('streams') -%}
        {%- do model['columns'].update({'stream': {'name': 'stream', 'data_type': 'text', 'quote': false, 'constraints': []}}) -%}
    {%- endif -%}
    {{- declare_types() -}}
{% endmacro %}
