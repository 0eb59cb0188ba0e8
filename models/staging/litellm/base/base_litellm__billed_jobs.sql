-- One row per batch or background response that was charged: which of its spend logs counts, the earliest that was there when it was first
-- seen. Kept permanently, so that a retrieval in a later run, or after retention, is not charged again.
{{ config(
    materialized='incremental',
    incremental_strategy='append',
    on_schema_change='append_new_columns',
    full_refresh=false,
    pre_hook="{{ one_run_at_a_time(this) }}",
    post_hook="{{ analyze_table(this) }}",
) }}

{%- set window_start = usage_window_start(load_kept_hours()) if is_incremental() else none %}

with

spend_logs as (
    select * from {{ ref('base_litellm__cleaned_spend_logs') }}
    where {{ starts_within(window_start, load_until()) }}
),

charges as (
    select
        job_id,
        request_id,
        {{ comparable_start('started_at') }} as started_at
    from spend_logs
    where job_id is not null
),

{%- if is_incremental() %}

-- The jobs whose charge has been found. If hours are rebuilt, those whose spend log is gone, such as one of a wrong file, are charged anew.
billed as (
    select billed_jobs.job_id
    from {{ this }} as billed_jobs
    {%- if project_var('rebuild_thinner_hours') %}
    left join charges
        on billed_jobs.request_id = charges.request_id and billed_jobs.started_at = charges.started_at
    where charges.job_id is not null or not ({{ is_within('billed_jobs.started_at', window_start, load_until()) }})
    {%- endif %}
),
{%- endif %}

ranked as (
    select
        charges.*,
        row_number() over (partition by charges.job_id order by charges.started_at, {{ by_bytes('charges.request_id') }}) as charge_number
    from charges
    {%- if is_incremental() %}
    where charges.job_id not in (select billed.job_id from billed)
    {%- endif %}
),

final as (
    select
        job_id,
        request_id,
        started_at,
        {{ this_run() }} as recorded_at
    from ranked
    where charge_number = 1
)

select * from final
