-- One row per UTC hour, reason and file: the requests that are rejected, whose cost is in no line. The loader warns about them.
-- Hours within the lookback window are counted again by each run; older ones stay as they were counted last.
{{ config(
    materialized='incremental',
    incremental_strategy=hourly_incremental_strategy(),
    unique_key='usage_hour',
    partition_by=day_partition(),
    on_schema_change='append_new_columns',
    pre_hook="{{ one_run_at_a_time(this) }}",
) }}

-- What the macros below read:
-- depends_on: {{ ref('int_usage__summed_hours') }}
{%- set window_start = usage_window_start(load_kept_hours()) if is_incremental() else none %}
{%- set has_files = start_can_be_missing() %}
{%- set rejected_only = ' and rejection_reason is not null' %}
{%- set without_start = ' or started_at is null' if window_start else '' %}
{%- set columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list if is_incremental() else [] %}

with

spend_logs as (
    select
        -- A request without a start belongs to no hour; it is counted under the first hour of 1970.
        coalesce(usage_hour, {{ hour_without_start() }}) as usage_hour,
        rejection_reason,
        source_file,
        request_id,
        cost_usd
    from {{ ref('stg_litellm__spend_logs') }}
    where {{ is_within('started_at', window_start, none) }}{{ rejected_only if not has_files else without_start }}
),

-- With files, the requests that are not rejected are counted too, to find the files that have none.
counted as (
    select
        usage_hour,
        rejection_reason,
        source_file,
        count(*) as request_count,
        sum(coalesce(cost_usd, 0)) as cost_usd,
        min(case when rejection_reason is not null then {{ by_bytes('request_id') }} end) as example_request_id
    from spend_logs
    group by usage_hour, rejection_reason, source_file
),

weighed as (
    select
        *,
        sum(request_count) over (partition by source_file) as file_request_count,
        max(case when rejection_reason is null then 1 else 0 end) over (partition by source_file) as file_has_accepted,
        max(case when rejection_reason is null then 1 else 0 end) over () as source_has_accepted,
        max(case when rejection_reason in ('{{ file_problems() | join("', '") }}') then 1 else 0 end) over (partition by source_file)
            as file_has_problem
    from counted
),

rejected as (
    select
        usage_hour,
        rejection_reason,
        source_file,
        request_count,
        cost_usd,
        example_request_id,
        -- LiteLLM's loggers write a file for each request: there, one that is rejected is no sign that its file is not understood,
        -- unless all are rejected.
        source_file is not null
        and file_has_accepted = 0
        and (
            file_request_count > 1
            or file_has_problem = 1
            or source_has_accepted = 0
            or not {{ holds_one_request('source_file') }}
        )
        {%- if 'source_file' in columns %}
        -- The requests of it that were accepted may be older than the lookback window.
        and source_file not in (
            select known.source_file from {{ this }} as known where known.source_file is not null and not known.file_is_rejected
        )
        {%- endif %} as file_is_rejected
    from weighed
    where rejection_reason is not null
),

{%- if is_incremental() %}

-- Hours in which no request is rejected any more: a row with 0 requests replaces the previous count.
cleared as (
    select distinct
        usage_hour,
        rejection_reason
    from {{ this }}
    where
        request_count > 0
        and ({{ is_within('usage_hour', window_start, none) }} or usage_hour = {{ hour_without_start() }})
        and usage_hour not in (select rejected.usage_hour from rejected)
),
{%- endif %}

final as (
    select
        usage_hour,
        {%- if day_partition() %}
        cast(usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        rejection_reason,
        cast(request_count as {{ dbt.type_bigint() }}) as request_count,
        cast(cost_usd as {{ usd_type() }}) as cost_usd,
        cast(example_request_id as {{ dbt.type_string() }}) as example_request_id,
        cast(source_file as {{ dbt.type_string() }}) as source_file,
        file_is_rejected
    from rejected
    {%- if is_incremental() %}

    union all

    select
        usage_hour,
        {%- if day_partition() %}
        cast(usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        rejection_reason,
        cast(0 as {{ dbt.type_bigint() }}) as request_count,
        cast(0 as {{ usd_type() }}) as cost_usd,
        cast(null as {{ dbt.type_string() }}) as example_request_id,
        cast(null as {{ dbt.type_string() }}) as source_file,
        false as file_is_rejected
    from cleared
    {%- endif %}
)

select * from final
