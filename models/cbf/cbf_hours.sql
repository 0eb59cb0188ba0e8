-- One row per summed UTC hour, and per stream if there are several. Hours with the same fingerprint have the same lines, on every engine.
-- It is a table, so that finding what has changed does not mean hashing all history. A run fingerprints the hours that were summed
-- since the last one, or all hours if the definition of the lines has changed.
{{ config(
    materialized='incremental',
    incremental_strategy=hourly_incremental_strategy(),
    unique_key='usage_hour',
    partition_by=day_partition(),
    on_schema_change='append_new_columns',
    pre_hook="{{ one_run_at_a_time(this) }}",
    indexes=[{'columns': ['usage_hour', 'stream'], 'unique': true}, {'columns': ['summed_at']}],
) }}

{%- set definition = lines_definition() %}
{%- set summed_hours = hours_summed_since(this, definition) if is_incremental() else none %}

with

usage_hours as (
    select * from {{ ref('int_usage__hourly') }}
    {%- if summed_hours %}
    where usage_hour >= {{ summed_hours.first }} and usage_hour <= {{ summed_hours.last }} and {{ summed_hours.condition }}
    {%- endif %}
),

lines as (
    select * from {{ ref('cbf_lines') }}
    {%- if summed_hours %}
    where
        {{ cbf_column('time/usage_start') }} >= {{ summed_hours.first }}
        and {{ cbf_column('time/usage_start') }} <= {{ summed_hours.last }}
    {%- endif %}
),

-- An hour has no lines if all of its providers are left out.
changed_hours as (
    select
        usage_hour,
        max(summed_at) as summed_at
    from usage_hours
    group by usage_hour
),

-- A null adds nothing to the text, so a new column without values changes no fingerprint.
hashed as (
    select
        {{ cbf_column('time/usage_start') }} as usage_hour,
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
        cast({{ sql_text(definition) }} as {{ dbt.type_string() }}) as lines_definition
    from changed_hours
    left join summarized on changed_hours.usage_hour = summarized.usage_hour
)

select * from final
