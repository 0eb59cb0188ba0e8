{# What is not [a-zA-Z0-9-] goes first and lower() comes after: lower() of other letters depends on the engine. #}
{% macro czrn_component(column) -%}
    coalesce(
        nullif(trim(both '-' from lower({{ regexp_replace_all(column, '[^a-zA-Z0-9]+', '-') }})), ''),
        'unknown'
    )
{%- endmacro %}
