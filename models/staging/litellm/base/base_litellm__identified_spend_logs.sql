-- One row per stored spend log: the one that counts for its request, or one that is merged into it, with the reason.
-- Requests, merged spend logs and their money together are what the source holds.
with

spend_logs as (
    select * from {{ ref('base_litellm__cleaned_spend_logs') }}
),

billed_jobs as (
    select * from {{ ref('base_litellm__billed_jobs') }}
),

final as (
    select
        spend_logs.*,
        case
            when spend_logs.is_copy then 'copy'
            when spend_logs.job_id is null or billed_jobs.job_id is not null then null
            when spend_logs.call_type in ('aretrieve_batch', 'retrieve_batch') then 'batch_poll'
            else 'response_poll'
        end as merge_reason
    from spend_logs
    left join billed_jobs
        on
            spend_logs.job_id = billed_jobs.job_id
            and spend_logs.request_id = billed_jobs.request_id
            and {{ comparable_start('spend_logs.started_at') }} = billed_jobs.started_at
)

select * from final
