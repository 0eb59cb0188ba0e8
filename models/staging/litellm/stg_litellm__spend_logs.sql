-- One row per request: of its copies the one that was written last, and of the retrievals of a batch the first.
-- No request is left out: one that cannot be assigned to an hour or summed keeps its cost and has a rejection_reason.
with

spend_logs as (
    select * from {{ ref('base_litellm__identified_spend_logs') }}
),

final as (
    select
        request_id,
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
        warning
    from spend_logs
    -- A comparison of text keeps PostgreSQL's row estimate realistic; for `merge_reason is null` it would assume 0.5 % of the rows.
    where case when is_copy then 'merged' when job_id is null or merge_reason is null then 'counted' else 'merged' end <> 'merged'
)

select * from final
