{# Var load_until as text, UTC: this run sums no request that starts then or later. None without one. #}
{% macro load_until() %}
    {%- set until = project_var('load_until') -%}
    {%- if until is none -%}{{ return(none) }}{%- endif -%}
    {{ return(until | string) }}
{% endmacro %}
