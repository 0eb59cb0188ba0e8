{# Whether lines of a provider are sent, as a condition on `column`, a CZRN provider part: vars include_providers and exclude_providers.
   Providers are left out whose bills CloudZero gets from another connection. #}
{% macro is_sent_provider(column) -%}
    {%- set conditions = [] -%}
    {%- for variable, operator in [('include_providers', 'in'), ('exclude_providers', 'not in')] -%}
        {%- set providers = [] -%}
        {%- for provider in czrn_providers(variable, project_var(variable)) -%}{%- do providers.append(sql_text(provider)) -%}{%- endfor -%}
        {%- if providers -%}
            {%- do conditions.append(column ~ ' ' ~ operator ~ ' (' ~ providers | join(', ') ~ ')') -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(conditions | join(' and ') or 'true') }}
{%- endmacro %}
