{# A select of the hours (usage_hour) on which `stored` (int_usage__hourly) and `built` (cbf_hours) differ: those of which cbf_hours was built from
   other rows than int_usage__hourly holds now, or has none, or has lines that int_usage__hourly has no longer; with `definition`, also
   those that were built from another definition of the lines. `has_stamps`: whether cbf_hours has the column invocation_id.
   Each hour is compared with its own row, and for equality: no time decides, because clocks differ and runs overlap. #}
{% macro hours_that_differ(stored, built, definition=none, has_stamps=true) -%}
    select coalesce(stored.usage_hour, built.usage_hour) as usage_hour
    from ({{ stored_hours(stored) }}) as stored
    full outer join (
        select
            usage_hour,
            max(line_count) as line_count,
            {{ 'max(invocation_id)' if has_stamps else 'cast(null as ' ~ dbt.type_string() ~ ')' }} as invocation_id,
            min(lines_definition) as first_definition,
            max(lines_definition) as last_definition
        from {{ built }}
        group by usage_hour
    ) as built on stored.usage_hour = built.usage_hour
    where
        (stored.usage_hour is null and built.line_count > 0)
        or stored.invocation_id <> coalesce(built.invocation_id, 'none')
        {%- if definition %}
        or (stored.usage_hour is not null and built.first_definition <> {{ sql_text(definition) }})
        or (stored.usage_hour is not null and built.last_definition <> {{ sql_text(definition) }})
        {%- endif %}
{%- endmacro %}
