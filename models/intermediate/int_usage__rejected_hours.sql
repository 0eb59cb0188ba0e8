-- One row per UTC hour and reason: the requests that are rejected, whose cost is in no line, those that carry a warning, and the
-- spend logs that are merged into another one. The loader reports them.
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
{%- set stored_columns = adapter.get_columns_in_relation(this) | map(attribute='name') | list if is_incremental() else [] %}
{%- set reasons = ['rejection_reason', 'warning', 'merge_reason'] %}

with

spend_logs as (
    select * from {{ ref('base_litellm__identified_spend_logs') }}
    where {{ starts_within(window_start, none) }}{{ ' or started_at is null' if window_start and start_can_be_missing() }}
),

reported as (
    select
        -- A request without a start belongs to no hour; it is counted under the first hour of 1970.
        coalesce(usage_hour, {{ hour_without_start() }}) as usage_hour,
        case when merge_reason is null then rejection_reason end as rejection_reason,
        case when merge_reason is null then warning end as warning,
        merge_reason,
        request_id,
        cost_usd
    from spend_logs
    where coalesce(merge_reason, rejection_reason, warning) is not null
),

counted as (
    select
        usage_hour,
        {{ reasons | join(',\n        ') }},
        count(*) as request_count,
        sum(coalesce(cost_usd, 0)) as cost_usd,
        min({{ by_bytes('request_id') }}) as example_request_id
    from reported
    group by usage_hour, {{ reasons | join(', ') }}
),

{%- if is_incremental() %}

-- Hours in which nothing is to be reported any more: a row with 0 requests replaces the previous count.
cleared as (
    select
        usage_hour,
        {%- for reason in reasons %}
        {{ reason if reason in stored_columns else 'cast(null as ' ~ dbt.type_string() ~ ') as ' ~ reason }}{{ ',' if not loop.last }}
        {%- endfor %}
    from {{ this }}
    where
        request_count > 0
        and ({{ is_within('usage_hour', window_start, none) }} or usage_hour = {{ hour_without_start() }})
        and usage_hour not in (select counted.usage_hour from counted)
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
        cast(example_request_id as {{ dbt.type_string() }}) as example_request_id
    from counted
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
        cast(null as {{ dbt.type_string() }}) as example_request_id
    from cleared
    {%- endif %}
)

select * from final
