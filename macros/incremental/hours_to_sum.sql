{# Which hours int_usage__summed_hours sums in this run, as a mapping:
   `condition`: the spend logs to read, as a condition (starts_within).
   `has_gaps`: true if the condition keeps hours that are not in `source_hours` and must not be summed.
   `source_hours`: hour → checksum of its spend logs, both text. The next run compares them with what it finds then.
   `emptied`: the stored hours that are removed if the source has no usage of them, as a condition; none without rebuild_thinner_hours.
   Times are read as text, because a client may convert a timestamp to the time zone of its machine. #}
{% macro hours_to_sum() %}
    {%- set kept = load_kept_hours() -%}
    {%- set window_start = usage_window_start(kept) -%}
    {%- set everything = starts_within(none, load_until()) -%}
    {%- if not is_run() -%}
        {{ return({'condition': everything, 'has_gaps': false, 'source_hours': {}, 'emptied': none}) }}
    {%- endif -%}
    {%- set emptied = hours_to_empty(kept, window_start) -%}
    {%- if window_start is none -%}
        {#- Only the hours that the next run looks at again need a checksum. -#}
        {%- set newest = newest_before(ref('base_litellm__spend_logs'), 'started_at', none) -%}
        {%- set source_hours = source_checksums(start_of_lookback(newest)) if newest else {} -%}
        {{ return({'condition': everything, 'has_gaps': false, 'source_hours': source_hours, 'emptied': emptied}) }}
    {%- endif -%}
    {%- set changed = changed_hours(kept, window_start) -%}
    {%- if not changed -%}
        {{ return({'condition': 'false', 'has_gaps': false, 'source_hours': {}, 'emptied': emptied}) }}
    {%- endif -%}
    {%- set last = modules.datetime.datetime.fromisoformat(changed | list | last) -%}
    {%- set length = last - modules.datetime.datetime.fromisoformat(changed | first) + modules.datetime.timedelta(hours=1) -%}
    {#- The last hour of the year 9999, where a broken clock can put a row, has no end that a timestamp could hold. -#}
    {%- set end = last + modules.datetime.timedelta(hours=1) if last.year < 9999 else none -%}
    {{ return({
        'condition': starts_within(changed | first, end),
        'has_gaps': changed | length < length.total_seconds() / 3600,
        'source_hours': changed,
        'emptied': emptied,
    }) }}
{% endmacro %}

{# With var rebuild_thinner_hours: which stored hours are removed if the source has no usage of them, as a condition on usage_hour: those of
   the window, or, if everything is read again, those since the oldest spend log. Older ones outlived their spend logs. None otherwise. #}
{% macro hours_to_empty(kept, window_start) %}
    {%- if kept is none or not project_var('rebuild_thinner_hours') -%}{{ return(none) }}{%- endif -%}
    {%- if window_start is not none -%}{{ return(is_within('usage_hour', window_start, load_until())) }}{%- endif -%}
    {%- set oldest = run_query(
        "select cast(" ~ dbt.date_trunc('hour', 'min(started_at)') ~ " as " ~ dbt.type_string() ~ ") from " ~ ref('base_litellm__spend_logs')
        ~ " where " ~ is_within('started_at', '2000-01-01', load_until())
    ).rows[0][0] -%}
    {{ return(is_within('usage_hour', oldest, load_until()) if oldest else none) }}
{% endmacro %}

{# The table of int_usage__hourly, or none before the first run. It is not a ref(), because int_usage__hourly selects from the model
   that calls this. #}
{% macro load_kept_hours() %}
    {%- if not is_run() -%}{{ return(none) }}{%- endif -%}
    {{ return(load_relation(built_relation('int_usage__hourly'))) }}
{% endmacro %}

{# The relation of a model of this project, for a macro whose model need not, or must not, depend on it by ref(). #}
{% macro built_relation(name) %}
    {%- set node = graph.nodes['model.litellm_cbf.' ~ name] -%}
    {{ return(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) }}
{% endmacro %}
