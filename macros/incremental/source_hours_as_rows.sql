{# The source_hours of hours_to_sum as a select of usage_hour and source_checksum. #}
{% macro source_hours_as_rows(source_hours) %}
    {%- if source_hours -%}
    select * from (
        values
        {%- for hour, checksum in source_hours.items() %}
        ({{ timestamp_literal(hour) }}, '{{ checksum }}'){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed (usage_hour, source_checksum)
    {%- else -%}
    select
        cast(null as timestamp) as usage_hour,
        cast(null as {{ dbt.type_string() }}) as source_checksum
    where false
    {%- endif -%}
{% endmacro %}
