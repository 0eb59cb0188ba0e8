{# When this run of dbt began, as a UTC timestamp. #}
{% macro this_run() -%}
    {{ timestamp_literal(run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f')) }}
{%- endmacro %}
