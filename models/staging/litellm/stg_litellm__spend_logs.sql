-- One row per request: of rows with the same id and start, the one that was written last.
-- No request is left out: one that cannot be assigned to an hour or summed keeps its cost and has a rejection_reason.
with

spend_logs as (
    select * from {{ ref('base_litellm__spend_logs') }}
),

-- The key is that of LiteLLM's partitioned table. Because it contains the start, a range of time can use the table's index and the
-- statistics of Parquet files, and two requests to which a provider gave the same id remain two.
-- The order includes every column of money or time, so that each engine chooses the same row.
versions as (
    select
        *,
        row_number() over (
            partition by request_id, started_at
            order by updated_at desc nulls last, ended_at desc nulls last, spend desc nulls last, started_at desc nulls last
        ) as version_number
    from spend_logs
),

requests as (
    select
        *,
        coalesce(prompt_tokens, 0) as prompt_tokens_or_zero,
        coalesce(completion_tokens, 0) as completion_tokens_or_zero,
        coalesce(total_tokens, coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) as total_tokens_or_sum
    from versions
    -- Nothing says that two rows without an id are the same request. A case expression keeps PostgreSQL's row estimate
    -- realistic; for `version_number = 1` it would assume 0.5 % of the rows.
    where case when {{ blank_to_null('request_id') }} is null then true else version_number = 1 end
),

-- NaN compares greater than every number here, so `not … < 1e15` finds it and infinity.
judged as (
    select
        *,
        case
            when started_at is null then 'no_start_time'
            when not abs(coalesce(spend, 0)) < 1e15 then 'spend_not_a_number'
            when
                not (abs(prompt_tokens_or_zero) < 1e15 and abs(completion_tokens_or_zero) < 1e15 and abs(total_tokens_or_sum) < 1e15)
                then 'tokens_not_a_number'
            when prompt_tokens_or_zero < 0 or completion_tokens_or_zero < 0 or total_tokens_or_sum < 0 then 'negative_tokens'
        end as rejection_reason
    from requests
),

final as (
    select
        {{ blank_to_null('request_id') }} as request_id,
        {{ blank_to_null('call_type') }} as call_type,
        {{ blank_to_null('status') }} as status,

        started_at,
        ended_at,
        landed_at,
        updated_at,
        {{ dbt.date_trunc('hour', 'started_at') }} as usage_hour,

        {{ blank_to_null('team_id') }} as team_id,
        {{ blank_to_null('user_id') }} as user_id,
        {{ blank_to_null('api_key') }} as api_key,
        {{ blank_to_null('organization_id') }} as organization_id,
        {{ blank_to_null('project_id') }} as project_id,
        {{ blank_to_null('end_user') }} as end_user,
        {{ blank_to_null('agent_id') }} as agent_id,

        {{ blank_to_null('model') }} as model,
        {{ blank_to_null('model_group') }} as model_group,
        {{ blank_to_null('custom_llm_provider') }} as custom_llm_provider,

        {{ blank_to_null('team_alias') }} as team_alias,
        {{ blank_to_null('user_email') }} as user_email,
        {{ blank_to_null('api_key_alias') }} as api_key_alias,
        {{ blank_to_null('organization_alias') }} as organization_alias,
        {{ blank_to_null('project_alias') }} as project_alias,
        request_tags,
        spend_logs_metadata,

        spend,
        case when abs(coalesce(spend, 0)) < 1e15 then {{ exact_usd('coalesce(spend, 0)') }} end as cost_usd,
        case when abs(prompt_tokens_or_zero) < 1e15 then cast(prompt_tokens_or_zero as {{ dbt.type_bigint() }}) end as prompt_tokens,
        case when abs(completion_tokens_or_zero) < 1e15 then cast(completion_tokens_or_zero as {{ dbt.type_bigint() }}) end
            as completion_tokens,
        case when abs(total_tokens_or_sum) < 1e15 then cast(total_tokens_or_sum as {{ dbt.type_bigint() }}) end as total_tokens,

        rejection_reason
    from judged
)

select * from final
