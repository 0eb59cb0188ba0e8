-- One row per stored spend log: the one that counts for its request, or one that is merged into it, with the reason.
-- Requests, merged spend logs and their money together are what the source holds.
with

spend_logs as (
    select * from {{ ref('base_litellm__cleaned_spend_logs') }}
),

billed_jobs as (
    select * from {{ ref('base_litellm__billed_jobs') }}
),

identified as (
    select
        spend_logs.*,
        case
            when spend_logs.is_copy then 'copy'
            when spend_logs.job_id is null then null
            when {{ is_charge('spend_logs.request_id', 'spend_logs.started_at', 'billed_jobs') }} then null
            when spend_logs.call_type in ('aretrieve_batch', 'retrieve_batch') then 'batch_poll'
            else 'response_poll'
        end as merge_reason
    from spend_logs
),

final as (
    select
        request_id,
        job_id,
        is_copy,
        call_type,
        status,

        started_at,
        ended_at,
        landed_at,
        updated_at,
        usage_hour,

        team_id,
        user_id,
        api_key,
        organization_id,
        project_id,
        end_user,
        agent_id,

        model,
        model_group,
        custom_llm_provider,

        team_alias,
        user_email,
        api_key_alias,
        organization_alias,
        project_alias,
        request_tags,
        spend_logs_metadata,

        spend,
        cost_usd,
        prompt_tokens,
        completion_tokens,
        total_tokens,

        source_file,
        rejection_reason,
        warning,
        merge_reason
    from identified
)

select * from final
