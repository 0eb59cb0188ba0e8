{# The first hour that a run looks at again, as text; none for everything that the source holds: before the first complete run (`kept`, the
   table of int_usage__hourly, is none or empty, or cbf_as_of does not exist) and with --full-refresh.
   It counts back from the newest hour that the last complete run had found, and not from the present, so that neither a week without runs nor
   a source that was late leaves a gap. A run that fails does not move it. A row from the future, or a run on a machine whose clock is
   ahead, does not move it past the hours that are known. #}
{% macro usage_window_start(kept) %}
    {%- if flags.FULL_REFRESH or not is_run() or kept is none -%}{{ return(none) }}{%- endif -%}
    {%- if last_complete_run() is none -%}{{ return(none) }}{%- endif -%}
    {%- set known = newest_known_hour() -%}
    {%- if known -%}{{ return(start_of_lookback(known)) }}{%- endif -%}
    {#- All that is known lies in the future: whatever else the source holds is new. -#}
    {%- set has_hours = run_query("select 1 from " ~ kept ~ " limit 1").rows | length > 0 -%}
    {{ return('1970-01-01 00:00:00' if has_hours else none) }}
{% endmacro %}

{# What the last complete run of dbt left in cbf_as_of, as text: `newest_hour`, the newest hour that had begun when it was summed, none if there
   is none. None before the first complete run. #}
{% macro last_complete_run() %}
    {%- set relation = load_relation(built_relation('cbf_as_of')) -%}
    {%- if relation is none -%}{{ return(none) }}{%- endif -%}
    {#- A table that an earlier version built has no such column. -#}
    {%- set column = 'newest_hour' if 'newest_hour' in adapter.get_columns_in_relation(relation) | map(attribute='name') else 'built_at' -%}
    {%- set found = run_query("select cast(" ~ column ~ " as " ~ dbt.type_string() ~ ") from " ~ relation).rows -%}
    {{ return({'newest_hour': found[0][0]} if found else none) }}
{% endmacro %}

{# The newest hour of int_usage__hourly that the last complete run knew and that has begun, as text; none if there is none. #}
{% macro newest_known_hour() %}
    {%- set kept = load_kept_hours() -%}
    {%- set last_run = last_complete_run() if kept is not none else none -%}
    {%- if last_run is none or not last_run.newest_hour -%}{{ return(none) }}{%- endif -%}
    {{ return(newest_before(kept, 'usage_hour', last_run.newest_hour)) }}
{% endmacro %}

{# The greatest value of `column`, a timestamp, that is not after `limit` (text; none: no limit), nor after the present, and before var
   load_until, as text; none without any. #}
{% macro newest_before(relation, column, limit) %}
    {%- set now = modules.datetime.datetime.utcnow().strftime('%Y-%m-%d %H:%M:%S') -%}
    {%- set last = [limit, now] | min if limit else now -%}
    {{ return(run_query(
        "select cast(max(" ~ column ~ ") as " ~ dbt.type_string() ~ ") from " ~ relation ~ " where " ~ column ~ " <= "
        ~ timestamp_literal(last) ~ " and " ~ is_within(column, none, load_until())
    ).rows[0][0]) }}
{% endmacro %}

{# The start of the hour that lies `lookback_hours` before a time, both as text. #}
{% macro start_of_lookback(time) %}
    {%- set hour = modules.datetime.datetime.fromisoformat(time).replace(minute=0, second=0, microsecond=0) -%}
    {{ return((hour - modules.datetime.timedelta(hours=project_var('lookback_hours') | int)).strftime('%Y-%m-%d %H:%M:%S')) }}
{% endmacro %}
