{# When this run of dbt began, as a timestamp in UTC. #}
{% macro this_run() -%}
    {{ dbt.cast(sql_text(run_started_at.strftime('%Y-%m-%d %H:%M:%S.%f')), 'timestamp') }}
{%- endmacro %}
