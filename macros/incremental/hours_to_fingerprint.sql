{# Which hours of cbf_hours (`relation`) must be built again, as a mapping: `first` and `last`, both text, and `listed`: all of them, or none if
   they are too many to list, so that all in between are built. None if no hour must be, an empty mapping for every hour: with --full-refresh.
   Times are read as text, because a client may convert a timestamp to the time zone of its machine. #}
{% macro hours_to_fingerprint(relation, definition) %}
    {%- if flags.FULL_REFRESH or not is_run() -%}{{ return({}) }}{%- endif -%}
    {#- A table that an earlier version built has no such column. -#}
    {%- set has_stamps = 'invocation_id' in adapter.get_columns_in_relation(relation) | map(attribute='name') -%}
    {%- set hours = run_query(
        "select cast(usage_hour as " ~ dbt.type_string() ~ ") from ("
        ~ hours_that_differ(ref('int_usage__hourly'), relation, definition, has_stamps) ~ ") as hours order by 1"
    ).columns[0].values() | list -%}
    {%- if not hours -%}{{ return(none) }}{%- endif -%}
    {{ return({'first': hours | first, 'last': hours | last, 'listed': hours if hours | length <= 500 else none}) }}
{% endmacro %}
