{# `component` is the owner after czrn_component(). An owner that normalising changes gets six hex digits of its
   own md5, always and not only when another owner is near, so no id changes when another owner appears. A team
   that is called 'unknown' gets them as well: that word is for cost without an owner. #}
{% macro czrn_owner(owner, component) -%}
    case
        when {{ owner }} is null then 'unknown'
        when {{ component }} = {{ owner }} and {{ component }} <> 'unknown' then {{ component }}
        else {{ component }} || '-' || substring({{ dbt.hash(owner) }}, 1, 6)
    end
{%- endmacro %}
