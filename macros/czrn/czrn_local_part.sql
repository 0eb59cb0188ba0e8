{# A value inside the cloud-local id. CloudZero documents that it splits resource ids at ':' and '/', and '|' separates the parts here. A
   model keeps its own ':' and '/' (keep_separators), as LiteLLM's exporter sends it. #}
{% macro czrn_local_part(value, keep_separators=false) -%}
    {%- set pattern = '[\\x01-\\x1f\\x7f|]' if keep_separators else '[\\x01-\\x1f\\x7f:/|]' -%}
    case
        when {{ regexp_replace_all(value, pattern, '-') }} = {{ value }} then {{ value }}
        else
            {{ regexp_replace_all(value, pattern, '-') }}
            || '-' || substring({{ dbt.hash(value) }}, 1, 6)
    end
{%- endmacro %}
