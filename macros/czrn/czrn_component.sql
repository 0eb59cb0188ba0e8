{# A text as a component of a CZRN. Characters outside [a-zA-Z0-9] are replaced before lower() is applied, because lower() of other letters
   depends on the engine. #}
{% macro czrn_component(column) -%}
    coalesce(
        nullif(trim(both '-' from lower({{ regexp_replace_all(column, '[^a-zA-Z0-9]+', '-') }})), ''),
        'unknown'
    )
{%- endmacro %}
