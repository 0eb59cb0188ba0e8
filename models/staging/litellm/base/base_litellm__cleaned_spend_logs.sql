-- One row per stored spend log, with cleaned values, whether it is a copy of another one, and why it cannot be billed if so.
-- No row is left out. Rows are copies if they have one id and start, and no team, user, key or model that differs.
{%- set copies = copies_to_find() %}
{%- set identity = ['team_id', 'user_id', 'api_key', 'model'] %}
with

spend_logs as (
    select * from {{ ref('base_litellm__spend_logs') }}
),

identified as (
    select
        spend_logs.*,
        {{ request_id_or_null('request_id') }} as clean_request_id,
        {{ clean_text('api_key') }} as clean_api_key
    from spend_logs
),

cleaned as (
    select
        request_id as stored_request_id,
        clean_request_id as request_id,
        {{ job_id('clean_request_id', 'call_type', 'spend') }} as job_id,
        {{ clean_text('call_type') }} as call_type,
        {{ clean_text('status') }} as status,

        started_at,
        ended_at,
        landed_at,
        updated_at,
        {{ dbt.date_trunc('hour', 'started_at') }} as usage_hour,

        {{ clean_text('team_id') }} as team_id,
        {{ clean_text('user_id') }} as user_id,
        case when clean_api_key is not null then {{ hashed_api_key('clean_api_key') }} end as api_key,
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
        coalesce(prompt_tokens, 0) as prompt_tokens_or_zero,
        coalesce(completion_tokens, 0) as completion_tokens_or_zero,
        coalesce(total_tokens, coalesce(prompt_tokens, 0) + coalesce(completion_tokens, 0)) as total_tokens_or_sum,

        source_file,
        read_problem,
        has_unreadable_start,
        has_unreadable_metadata,
        has_unreadable_tags
    from identified
),

{%- if copies in ['all', 'same_start'] %}

-- Rows of one id and second stand together, those of one team, user, key and model next to each other: first the one with
-- milliseconds, then the one that was written last. A value that is absent differs from none. The order includes every column of money
-- or time, so that each engine chooses the same row.
compared as (
    select
        *,
        case
            -- Nothing says that two rows without an id are the same request.
            when request_id is null then false
            when row_number() over versions = 1 then false
            when
                job_id is null and (
                    {%- for column in identity %}
                    {{ 'or ' if not loop.first }}coalesce({{ column }} <> lag({{ column }}) over versions, false)
                    {%- endfor %}
                )
                then false
            -- The same request in an export with whole seconds.
            when started_at = {{ dbt.date_trunc('second', 'started_at') }} then true
            when job_id is null and started_at <> lag(started_at) over versions then false
            else true
        end as is_copy
    from cleaned
    window versions as (
        partition by request_id, usage_hour, {{ dbt.date_trunc('second', 'started_at') if copies == 'all' else 'started_at' }}
        order by
            {%- for column in identity %}
            {{ column }} asc nulls last,
            {%- endfor %}
            started_at desc nulls last,
            updated_at desc nulls last,
            ended_at desc nulls last,
            spend desc nulls last
    )
),
{%- else %}

-- The key of LiteLLM's table leaves {{ 'no copies' if copies == 'none' else 'those with whole seconds, which are looked up by that key' }}.
compared as (
    select
        *,
        {% if copies == 'none' -%}
        false as is_copy
        {%- else -%}
        case
            when request_id is not null and started_at = {{ dbt.date_trunc('second', 'started_at') }}
                then exists (
                    select 1
                    from {{ ref('base_litellm__spend_logs') }} as precise
                    where
                        precise.request_id = cleaned.stored_request_id
                        and precise.started_at > cleaned.started_at
                        and precise.started_at < cleaned.started_at + interval '1 second'
                        {%- for column in ['team_id', 'user_id', 'model'] %}
                        and coalesce({{ clean_text('precise.' ~ column) }} = cleaned.{{ column }}, true)
                        {%- endfor %}
                        and coalesce({{ hashed_api_key(clean_text('precise.api_key')) }} = cleaned.api_key, true)
                )
            else false
        end as is_copy
        {%- endif %}
    from cleaned
),
{%- endif %}

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
    from compared
),

final as (
    select
        request_id,
        case when rejection_reason is null then job_id end as job_id,
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
                        case when spend < 0 then 'negative_spend' end
                    ),
                    ''
                )
        end as warning
    from judged
)

select * from final
