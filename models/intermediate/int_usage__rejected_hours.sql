-- One row per UTC hour, reason and file: the requests that are rejected, whose cost is in no line, those that carry a warning, and
-- the spend logs that are merged into another one. The loader reports them.
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
{#- A table that an earlier version built has fewer. #}
{%- set stored_columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list if is_incremental() and is_run() else [] %}
{%- set reasons = ['rejection_reason', 'warning', 'merge_reason'] %}
{%- set has_files = start_can_be_missing() %}
{%- set without_start = ' or started_at is null' if window_start and has_files else '' %}

with

spend_logs as (
    select * from {{ ref('base_litellm__identified_spend_logs') }}
    where {{ starts_within(window_start, none) }}{{ without_start }}
),

reported as (
    select
        -- A request without a start belongs to no hour; it is counted under the first hour of 1970.
        coalesce(usage_hour, {{ hour_without_start() }}) as usage_hour,
        case when merge_reason is null then rejection_reason end as rejection_reason,
        case when merge_reason is null then warning end as warning,
        merge_reason,
        source_file,
        request_id,
        cost_usd
    from spend_logs
    {%- if not has_files %}
    where coalesce(merge_reason, rejection_reason, warning) is not null
    {%- endif %}
),

-- With files, all requests are counted, to find the files of which none is accepted.
counted as (
    select
        usage_hour,
        {{ reasons | join(',\n        ') }},
        source_file,
        count(*) as request_count,
        sum(coalesce(cost_usd, 0)) as cost_usd,
        min({{ by_bytes('request_id') }}) as example_request_id
    from reported
    group by usage_hour, {{ reasons | join(', ') }}, source_file
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

found as (
    select
        usage_hour,
        {{ reasons | join(',\n        ') }},
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
        {%- if 'source_file' in stored_columns %}
        -- The requests of it that were accepted may be older than the lookback window.
        and source_file not in (
            select known.source_file from {{ this }} as known where known.source_file is not null and not known.file_is_rejected
        )
        {%- endif %} as file_is_rejected
    from weighed
    where coalesce(rejection_reason, warning, merge_reason) is not null
),

{%- if is_incremental() %}

-- Hours in which nothing is to be reported any more: a row with 0 requests replaces the previous count.
cleared as (
    select distinct
        usage_hour,
        {%- for reason in reasons %}
        {{ reason if reason in stored_columns else 'cast(null as ' ~ dbt.type_string() ~ ') as ' ~ reason }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ this }}
    where
        request_count > 0
        and ({{ is_within('usage_hour', window_start, none) }} or usage_hour = {{ hour_without_start() }})
        and usage_hour not in (select found.usage_hour from found)
),
{%- endif %}

final as (
    select
        usage_hour,
        {%- if day_partition() %}
        cast(usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        {%- for reason in reasons %}
        cast({{ reason }} as {{ dbt.type_string() }}) as {{ reason }},
        {%- endfor %}
        cast(request_count as {{ dbt.type_bigint() }}) as request_count,
        cast(cost_usd as {{ usd_type() }}) as cost_usd,
        cast(example_request_id as {{ dbt.type_string() }}) as example_request_id,
        cast(source_file as {{ dbt.type_string() }}) as source_file,
        file_is_rejected
    from found
    {%- if is_incremental() %}

    union all

    select
        usage_hour,
        {%- if day_partition() %}
        cast(usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        {%- for reason in reasons %}
        cast({{ reason }} as {{ dbt.type_string() }}) as {{ reason }},
        {%- endfor %}
        cast(0 as {{ dbt.type_bigint() }}) as request_count,
        cast(0 as {{ usd_type() }}) as cost_usd,
        cast(null as {{ dbt.type_string() }}) as example_request_id,
        cast(null as {{ dbt.type_string() }}) as source_file,
        false as file_is_rejected
    from cleared
    {%- endif %}
)

select * from final
