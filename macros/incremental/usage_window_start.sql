{# The first hour that a run looks at again, as text; none for everything that the source holds: before the first run (`kept`, the
   table of int_usage__hourly, is none or empty) and with --full-refresh. #}
{% macro usage_window_start(kept) %}
    {{ return(none if flags.FULL_REFRESH or not is_run() or kept is none else start_of_lookback(kept, 'usage_hour')) }}
{% endmacro %}

{# The start of the hour that lies `lookback_hours` before the greatest value of `column`, a timestamp, as text; none without any row.
   It counts back from there and not from now, so that a week without runs leaves no gap. A row from the future, which a wrong clock
   writes, does not move it past the present. #}
{% macro start_of_lookback(relation, column) %}
    {%- set newest = run_query(
        "select cast(" ~ dbt.date_trunc('hour', 'max(' ~ column ~ ')') ~ " as " ~ dbt.type_string() ~ ") from " ~ relation
        ~ (" where " ~ is_within(column, none, load_until()) if load_until() else "")
    ).rows[0][0] -%}
    {%- if newest is none -%}{{ return(none) }}{%- endif -%}
    {%- set newest = [modules.datetime.datetime.fromisoformat(newest), modules.datetime.datetime.utcnow()] | min -%}
    {%- set start = newest.replace(minute=0, second=0, microsecond=0) - modules.datetime.timedelta(hours=project_var('lookback_hours') | int) -%}
    {{ return(start.strftime('%Y-%m-%d %H:%M:%S')) }}
{% endmacro %}
