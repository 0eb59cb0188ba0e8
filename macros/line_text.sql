{# All values of a line but its hour as one text, each with its column's name: what the fingerprint is taken from. #}
{% macro line_text() -%}
    {%- set columns = [
        'lineitem/type', 'lineitem/cloud_provider', 'cost/cost', 'usage/amount', 'usage/units', 'resource/id', 'resource/service',
        'resource/account', 'resource/region', 'resource/usage_family',
    ] -%}
    {%- for tag in resource_tags() -%}{%- do columns.append('resource/tag:' ~ tag) -%}{%- endfor -%}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- do parts.append("coalesce('" ~ column ~ "=' || cast(" ~ cbf_column(column) ~ " as " ~ dbt.type_string() ~ ") || '\n', '')") -%}
    {%- endfor -%}
    {{ return(parts | join(' || ')) }}
{%- endmacro %}
