{# Which hours of int_usage__hourly were summed since `relation` (cbf_hours) was last built: the first, the last, and a condition
   for those in between, as SQL. None for all hours: with --full-refresh, or if the definition of the lines has changed since.
   A run always includes its own hours, because another run that began later may have finished first.
   Times are read as text, because a client may convert a timestamp to the time zone of its machine. #}
{% macro hours_summed_since(relation, definition) %}
    {%- if flags.FULL_REFRESH or not is_run() -%}{{ return(none) }}{%- endif -%}
    {%- set built = run_query(
        "select cast(summed_at as " ~ dbt.type_string() ~ "), lines_definition from " ~ relation ~ " where summed_at is not null order by summed_at desc limit 1"
    ).rows -%}
    {%- if not built or built[0][1] != definition -%}{{ return(none) }}{%- endif -%}
    {%- set condition = "(summed_at > " ~ timestamp_literal(built[0][0]) ~ " or summed_at = " ~ this_run() ~ ")" -%}
    {%- set found = run_query(
        "select cast(min(usage_hour) as " ~ dbt.type_string() ~ "), cast(max(usage_hour) as " ~ dbt.type_string() ~ ") from " ~ ref('int_usage__hourly') ~ " where " ~ condition
    ).rows[0] -%}
    {%- set bounds = [] -%}
    {%- for hour in found -%}
        {%- do bounds.append(timestamp_literal(hour or '1970-01-01 00:00:00')) -%}
    {%- endfor -%}
    {{ return({'first': bounds[0], 'last': bounds[1], 'condition': condition}) }}
{% endmacro %}
