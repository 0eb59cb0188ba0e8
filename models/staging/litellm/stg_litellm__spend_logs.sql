-- One row per request: of rows with the same id and start, the one that was written last.
-- No request is left out: one that cannot be assigned to an hour or summed keeps its cost and has a rejection_reason.
with

spend_logs as (
    select * from {{ ref('base_litellm__spend_logs') }}
),

identified as (
    select
        spend_logs.*,
        {{ request_id_or_null('request_id') }} as clean_request_id
    from spend_logs
),

-- The key is that of LiteLLM's partitioned table. Because it contains the start, a range of time can use the table's index and the
-- statistics of Parquet files, and two requests to which a provider gave the same id remain two.
-- The order includes every column of money or time, so that each engine chooses the same row.
versions as (
    select
        *,
        row_number() over (
            partition by clean_request_id, started_at
            order by updated_at desc nulls last, ended_at desc nulls last, spend desc nulls last
        ) as version_number
    from identified
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
    where case when clean_request_id is null then true else version_number = 1 end
),

cleaned as (
    select
        clean_request_id as request_id,
        {{ clean_text('call_type') }} as call_type,
        {{ clean_text('status') }} as status,

        started_at,
        ended_at,
        landed_at,
        updated_at,
        {{ dbt.date_trunc('hour', 'started_at') }} as usage_hour,

        {{ clean_text('team_id') }} as team_id,
        {{ clean_text('user_id') }} as user_id,
        {{ clean_text('api_key') }} as clean_api_key,
        {{ clean_text('organization_id') }} as organization_id,
        {{ clean_text('project_id') }} as project_id,
        {{ clean_text('end_user') }} as clean_end_user,
        {{ clean_text('agent_id') }} as agent_id,

        {{ clean_text('model') }} as model,
        {{ clean_text('model_group') }} as model_group,
        {{ clean_text('custom_llm_provider') }} as custom_llm_provider,

        {{ clean_text('team_alias') }} as team_alias,
        {{ clean_text('user_email') }} as user_email,
        {{ clean_text('api_key_alias') }} as api_key_alias,
        {{ clean_text('organization_alias') }} as organization_alias,
        {{ clean_text('project_alias') }} as project_alias,
        request_tags,
        spend_logs_metadata,

        spend,
        prompt_tokens_or_zero,
        completion_tokens_or_zero,
        total_tokens_or_sum,

        source_file,
        read_problem,
        has_unreadable_start,
        has_unreadable_metadata,
        has_unreadable_tags
    from requests
),

-- NaN compares greater than every number here, so `not … < 1e15` finds it and infinity.
judged as (
    select
        *,
        case
            when read_problem is not null then read_problem
            -- A day's sum of LiteLLM's API, not a request.
            when coalesce(request_id, call_type, model, model_group) is null then 'not_a_request'
            when has_unreadable_start then 'unreadable_start_time'
            when started_at is null then 'no_start_time'
            when started_at < timestamp '2000-01-01 00:00:00' or started_at >= timestamp '2100-01-01 00:00:00'
                then 'start_time_out_of_range'
            -- A failed request may carry no cost; of any other one the money is not known.
            when spend is null and coalesce(status, 'success') <> 'failure' then 'no_cost'
            when not abs(coalesce(spend, 0)) < 1e15 then 'spend_not_a_number'
            when
                not (abs(prompt_tokens_or_zero) < 1e15 and abs(completion_tokens_or_zero) < 1e15 and abs(total_tokens_or_sum) < 1e15)
                then 'tokens_not_a_number'
            when prompt_tokens_or_zero < 0 or completion_tokens_or_zero < 0 or total_tokens_or_sum < 0 then 'negative_tokens'
        end as rejection_reason
    from cleaned
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
        case when clean_api_key is not null then {{ hashed_api_key('clean_api_key') }} end as api_key,
        organization_id,
        project_id,
        {{ stable_end_user('clean_end_user') }} as end_user,
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
        case when abs(coalesce(spend, 0)) < 1e15 and (spend is not null or rejection_reason is null) then {{ exact_usd('coalesce(spend, 0)') }} end
            as cost_usd,
        case when abs(prompt_tokens_or_zero) < 1e15 then cast(prompt_tokens_or_zero as {{ dbt.type_bigint() }}) end as prompt_tokens,
        case when abs(completion_tokens_or_zero) < 1e15 then cast(completion_tokens_or_zero as {{ dbt.type_bigint() }}) end
            as completion_tokens,
        case when abs(total_tokens_or_sum) < 1e15 then cast(total_tokens_or_sum as {{ dbt.type_bigint() }}) end as total_tokens,

        source_file,
        rejection_reason,
        case
            when rejection_reason is null
                then nullif(
                    concat_ws(
                        ', ',
                        case when has_unreadable_metadata then 'unreadable_metadata' end,
                        case when has_unreadable_tags then 'unreadable_request_tags' end,
                        case when spend < 0 then 'negative_spend' end,
                        -- LiteLLM's table has a finished batch once, with this ending; its loggers write it at each poll.
                        case
                            when call_type = 'aretrieve_batch' and spend <> 0 and coalesce(request_id, '') not like '%_batch_cost'
                                then 'batch_poll'
                        end
                    ),
                    ''
                )
        end as warning
    from judged
)

select * from final
