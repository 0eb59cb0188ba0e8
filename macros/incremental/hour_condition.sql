{# A condition that keeps the hours that this run sums: the changed ones, else those from the start of the window on, else all.
   With `started_at`, the column of a request's start, the range reaches LiteLLM's own index, or the statistics of a file. #}
{% macro hour_condition(window_start, changed, started_at=none) %}
    {%- set conditions = [] -%}
    {%- if started_at and load_until() -%}
        {%- do conditions.append(started_at ~ ' < ' ~ load_until()) -%}
    {%- endif -%}
    {%- if changed is none -%}
        {%- if window_start -%}
            {%- do conditions.append((started_at or 'usage_hour') ~ ' >= ' ~ dbt.cast(sql_text(window_start), 'timestamp')) -%}
        {%- endif -%}
    {%- elif not changed -%}
        {{ return('false') }}
    {%- else -%}
        {%- set hours = [] -%}
        {%- for each in changed -%}{%- do hours.append(dbt.cast(sql_text(each.hour), 'timestamp')) -%}{%- endfor -%}
        {%- if started_at -%}
            {%- do conditions.append(started_at ~ ' >= ' ~ hours[0]) -%}
            {#- The last hour of 9999, where a broken clock can put a row, has no end that could be told. -#}
            {%- if not changed[-1].hour.startswith('9999') -%}
                {%- set after = modules.datetime.datetime.fromisoformat(changed[-1].hour) + modules.datetime.timedelta(hours=1) -%}
                {%- do conditions.append(started_at ~ ' < ' ~ dbt.cast(sql_text(after | string), 'timestamp')) -%}
            {%- endif -%}
        {%- endif -%}
        {%- do conditions.append('usage_hour in (' ~ hours | join(', ') ~ ')') -%}
    {%- endif -%}
    {{ return(conditions | join(' and ') or 'true') }}
{% endmacro %}
