-- One row per summed UTC hour, and per stream if there are several. Hours with the same fingerprint have the same lines, on every engine.
-- It is a table, so that finding what has changed does not mean hashing all history. A run fingerprints the hours that are not those which
-- int_usage__hourly holds now, or all hours if the definition of the lines has changed.
{{ config(
    materialized='incremental',
    incremental_strategy=hourly_incremental_strategy(),
    unique_key='usage_hour',
    partition_by=day_partition(),
    on_schema_change='append_new_columns',
    pre_hook="{{ one_run_at_a_time(this) }}",
    indexes=[{'columns': ['usage_hour', 'stream'], 'unique': true}],
) }}

{%- set definition = lines_definition() %}
{%- set hours = hours_to_fingerprint(this, definition) if is_incremental() else {} %}
{%- set usage_start = cbf_column('time/usage_start') %}

with

usage_hours as (
    select * from {{ ref('int_usage__hourly') }}
    {%- if hours is none %}
    where false
    {%- elif hours %}
    where usage_hour >= {{ timestamp_literal(hours.first) }} and usage_hour <= {{ timestamp_literal(hours.last) }}
    {%- endif %}
),

summed_hours as (
    select
        usage_hour,
        max(summed_at) as summed_at,
        max(invocation_id) as invocation_id
    from usage_hours
    group by usage_hour
),

-- An hour can have no lines: all of its providers are left out, or it has no usage any more.
wanted_hours as (
    {%- if hours and hours.listed %}
    select * from (
        values
        {%- for hour in hours.listed %}
        ({{ timestamp_literal(hour) }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed (usage_hour)
    {%- else %}
    select usage_hour from summed_hours
    {%- if hours %}

    union

    select usage_hour from {{ this }}
    where usage_hour >= {{ timestamp_literal(hours.first) }} and usage_hour <= {{ timestamp_literal(hours.last) }}
    {%- endif %}
    {%- endif %}
),

changed_hours as (
    select
        wanted_hours.usage_hour,
        summed_hours.summed_at,
        coalesce(summed_hours.invocation_id, '') as invocation_id
    from wanted_hours
    left join summed_hours on wanted_hours.usage_hour = summed_hours.usage_hour
),

lines as (
    select * from {{ ref('cbf_lines') }}
    {%- if hours is none %}
    where false
    {%- elif hours %}
    where
        {{ usage_start }} >= {{ timestamp_literal(hours.first) }}
        and {{ usage_start }} <= {{ timestamp_literal(hours.last) }}
        {%- if hours.listed %}
        and {{ usage_start }} in (select wanted_hours.usage_hour from wanted_hours)
        {%- endif %}
    {%- endif %}
),

-- A null adds nothing to the text, so a new column without values changes no fingerprint.
hashed as (
    select
        {{ usage_start }} as usage_hour,
        {{ stream_of_line() }} as stream,
        {{ cbf_column('cost/cost') }} as cost_usd,
        {{ cbf_column('usage/amount') }} as total_tokens,
        {{ dbt.hash(line_text()) }} as line_hash
    from lines
),

summarized as (
    select
        usage_hour,
        stream,
        count(*) as line_count,
        sum(cost_usd) as cost_usd,
        sum(total_tokens) as total_tokens,
        {{ dbt.hash(ordered_concatenation('line_hash')) }} as fingerprint
    from hashed
    group by usage_hour, stream
),

final as (
    select
        changed_hours.usage_hour,
        coalesce(summarized.stream, '') as stream,
        cast(coalesce(summarized.line_count, 0) as {{ dbt.type_bigint() }}) as line_count,
        cast(coalesce(summarized.cost_usd, 0) as {{ usd_type() }}) as cost_usd,
        cast(coalesce(summarized.total_tokens, 0) as {{ dbt.type_bigint() }}) as total_tokens,
        coalesce(summarized.fingerprint, 'empty') as fingerprint,
        {%- if day_partition() %}
        cast(changed_hours.usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        changed_hours.summed_at,
        cast({{ sql_text(definition) }} as {{ dbt.type_string() }}) as lines_definition,
        cast(changed_hours.invocation_id as {{ dbt.type_string() }}) as invocation_id
    from changed_hours
    left join summarized on changed_hours.usage_hour = summarized.usage_hour
)

select * from final
