{# The hours from `window_start` on whose spend logs are not those that `kept` (int_usage__hourly) summed: hour → checksum, in order.
   The checksums are taken before the sums, so a row that lands in between makes the next run sum its hour again. #}
{% macro changed_hours(kept, window_start) %}
    {%- set summed = {} -%}
    {%- if 'source_checksum' in adapter.get_columns_in_relation(kept) | map(attribute='name') -%}
        {%- for row in run_query(
            "select cast(usage_hour as " ~ dbt.type_string() ~ "), max(source_checksum) from " ~ kept
            ~ " where usage_hour >= " ~ timestamp_literal(window_start) ~ " group by usage_hour"
        ).rows -%}
            {%- do summed.update({row[0]: row[1]}) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- set changed = {} -%}
    {%- for hour, checksum in source_checksums(window_start).items() -%}
        {%- if summed.get(hour) != checksum or project_var('rebuild_thinner_hours') -%}
            {%- do changed.update({hour: checksum}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(changed) }}
{% endmacro %}
