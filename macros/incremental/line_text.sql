{# All values of a line except its hour as one text, each with the name of its column. Fingerprints are computed from it. #}
{% macro line_text() -%}
    {%- set columns = [
        'lineitem/type', 'lineitem/cloud_provider', 'cost/cost', 'usage/amount', 'usage/units', 'resource/id', 'resource/service',
        'resource/account', 'resource/region', 'resource/usage_family',
    ] -%}
    {%- for tag in resource_tags() -%}{%- do columns.append('resource/tag:' ~ tag) -%}{%- endfor -%}
    {%- set parts = [] -%}
    {%- for column in columns -%}
        {%- set text = usd_text(cbf_column(column)) if column == 'cost/cost' else
            'cast(' ~ cbf_column(column) ~ ' as ' ~ dbt.type_string() ~ ')' -%}
        {%- do parts.append("coalesce('" ~ column ~ "=' || " ~ text ~ " || '\n', '')") -%}
    {%- endfor -%}
    {{ return(parts | join(' || ')) }}
{%- endmacro %}
