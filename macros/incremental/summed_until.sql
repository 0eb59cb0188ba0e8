{# Before when this run has summed what there was: when it began, in whole seconds, or var load_until if that is earlier; a UTC timestamp. #}
{% macro summed_until() %}
    {%- set run_start = timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S')) -%}
    {{ return('least(' ~ timestamp_literal(load_until()) ~ ', ' ~ run_start ~ ')' if load_until() else run_start) }}
{% endmacro %}
