{# The vars include_providers and exclude_providers as a condition. A provider is left out if CloudZero already gets its bill from another
   connection. #}
{% macro is_sent_provider(column) -%}
    {%- for name, wanted in [('include_providers', true), ('exclude_providers', false)] -%}
        {%- if var(name) is string -%}
            {{ exceptions.raise_compiler_error("var " ~ name ~ " is not valid: " ~ var(name) ~ ". It must be a list of CZRN providers, such as [openai, aws].") }}
        {%- endif -%}
    {%- endfor -%}
    {%- set included = var('include_providers') | map('lower') | map('replace', "'", "''") | join("', '") -%}
    {%- set excluded = var('exclude_providers') | map('lower') | map('replace', "'", "''") | join("', '") -%}
    true
    {%- if included %} and {{ column }} in ('{{ included }}'){% endif -%}
    {%- if excluded %} and {{ column }} not in ('{{ excluded }}'){% endif -%}
{%- endmacro %}
