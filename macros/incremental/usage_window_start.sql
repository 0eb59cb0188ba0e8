{# The first hour that this run reads again, as text, or none for all that the source holds: on the first run and
   with --full-refresh. It counts back from the newest summed hour and not from now, so that a week without runs
   leaves no hole; a row from the future (a clock gone wrong) cannot move it past the present. #}
{% macro usage_window_start(relation) %}
    {%- set lookback = var('lookback_hours') | int(-1) -%}
    {%- if lookback < 1 -%}
        {{ exceptions.raise_compiler_error("var lookback_hours must be a whole number of hours, at least 1; it is: " ~ var('lookback_hours')) }}
    {%- endif -%}
    {%- if flags.FULL_REFRESH or not is_run() -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set newest = run_query("select cast(max(usage_hour) as " ~ dbt.type_string() ~ ") as newest from " ~ relation).columns[0].values()[0] -%}
    {%- if newest is none -%}
        {{ return(none) }}
    {%- endif -%}
    {#- Read as text: a client may turn a time into the zone of the machine it runs on. -#}
    {%- set newest = [modules.datetime.datetime.fromisoformat(newest | string), modules.datetime.datetime.utcnow()] | min -%}
    {%- set start = newest.replace(minute=0, second=0, microsecond=0) - modules.datetime.timedelta(hours=lookback) -%}
    {{ return(start.strftime('%Y-%m-%d %H:%M:%S')) }}
{% endmacro %}
