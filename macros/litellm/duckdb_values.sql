{# Naive UTC, cut to the millisecond as LiteLLM's timestamp(3) is; null where the text is not a time as a whole. #}
{% macro duckdb_utc_timestamp(column, type) %}
    {%- if type == 'TIMESTAMP WITH TIME ZONE' -%}
        {{ return("date_trunc('millisecond', " ~ column ~ " at time zone 'UTC')") }}
    {%- elif type.startswith('TIMESTAMP') -%}
        {{ return("date_trunc('millisecond', cast(" ~ column ~ " as timestamp))") }}
    {%- endif -%}
    {%- set forms = time_forms() -%}
    {%- set text = "trim(cast(" ~ column ~ " as varchar))" -%}
    {%- set local = "try_cast(regexp_extract(" ~ text ~ ", '" ~ forms.local_part ~ "', 1) as timestamp)" -%}
    {%- set number = epoch_microseconds("try_cast(" ~ text ~ " as decimal(38, 9))") -%}
    {{ return(
        "date_trunc('millisecond', case"
        ~ " when regexp_matches(" ~ text ~ ", '" ~ forms.local ~ "') then try_cast(" ~ text ~ " as timestamp)"
        ~ " when regexp_matches(" ~ text ~ ", '" ~ forms.number ~ "') then try(make_timestamp(cast(round(" ~ number ~ ") as bigint)))"
        ~ " when regexp_matches(" ~ text ~ ", '" ~ forms.utc ~ "') then " ~ local
        ~ " when regexp_matches(" ~ text ~ ", '" ~ forms.offset ~ "') then " ~ local ~ " - to_minutes(" ~ duckdb_offset_minutes(text) ~ ")"
        ~ " when regexp_matches(" ~ text ~ ", '" ~ forms.zone ~ "') then " ~ duckdb_zone_to_utc(local, "regexp_extract(" ~ text ~ ", '" ~ forms.zone_part ~ "', 1)")
        ~ " end)"
    ) }}
{% endmacro %}

{# Minutes that a time with an offset (+05:30, -0800, +01) is ahead of UTC. #}
{% macro duckdb_offset_minutes(text) -%}
    {%- set part = "regexp_extract(" ~ text ~ ", '" ~ time_forms().offset_part ~ "', " -%}
    (case when {{ part }}1) = '-' then -1 else 1 end
    * (cast({{ part }}2) as bigint) * 60 + coalesce(try_cast({{ part }}3) as bigint), 0)))
{%- endmacro %}

{# A local time of a named zone as UTC. Null for an unknown zone, which DuckDB would stop at, and for a time that the zone's clocks
   skip. Of a time that they show twice, the first, as Java and Python have it. #}
{% macro duckdb_zone_to_utc(local, zone) -%}
    case
        when list_contains((select list(name) from pg_timezone_names()), {{ zone }})
            then list_filter(
                list_transform([60, 30, 0], lambda minutes: timezone({{ zone }}, {{ local }}) - to_minutes(minutes)),
                lambda moment: timezone({{ zone }}, moment) = {{ local }}
            )[1] at time zone 'UTC'
    end
{%- endmacro %}

{# Text as a double: null where it is blank or stands for no value, NaN where it is no number. #}
{% macro duckdb_number(column) -%}
    case
        when not {{ is_one_of('trim(' ~ column ~ ')', no_number_texts()) }}
            then coalesce(try_cast({{ column }} as double), cast('NaN' as double))
    end
{%- endmacro %}

{# JSON text. A JSON text that holds a document, encoded once or several times, is taken out of its quotes. #}
{% macro duckdb_json_document(column) -%}
    {%- set unwrapped = namespace(sql=column) -%}
    {%- for turn in range(5) -%}
        {%- set unwrapped.sql = "try(json_extract_string(" ~ unwrapped.sql ~ ", '$'))" -%}
    {%- endfor -%}
    case when ltrim({{ column }}) like '"%' then {{ unwrapped.sql }} else {{ column }} end
{%- endmacro %}

{# The value of a field in COPY's text format: \N is null, and \t, \n, \\ and their like are undone. #}
{% macro duckdb_copy_text(column) -%}
    case
        when {{ column }} = '\N' then null
        when not contains({{ column }}, '\') then {{ column }}
        else replace(regexp_replace(
            replace(replace(replace(replace({{ column }}, '\\', chr(1)), '\t', chr(9)), '\n', chr(10)), '\r', chr(13)), '\\(.)', '\1', 'g'
        ), chr(1), '\')
    end
{%- endmacro %}
