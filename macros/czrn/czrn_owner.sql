{# `component` is the owner after czrn_component(). If that changed it, six hex digits of the owner's MD5 are appended: always, not only
   if another owner has the same component, so that no id changes when another owner appears. A team called 'unknown'
   gets them too, because that word means cost without an owner. #}
{% macro czrn_owner(owner, component) -%}
    case
        when {{ owner }} is null then 'unknown'
        when {{ component }} = {{ owner }} and {{ component }} <> 'unknown' then {{ component }}
        else {{ component }} || '-' || substring({{ dbt.hash(owner) }}, 1, 6)
    end
{%- endmacro %}
