-- One row per stored spend log that is merged into another one of the same request, with its cost and the reason.
-- Its money is in no line of its own: with stg_litellm__spend_logs it accounts for every cent in the source.
with

spend_logs as (
    select * from {{ ref('base_litellm__identified_spend_logs') }}
),

final as (
    select
        request_id,
        merge_reason,
        source_file,
        started_at,
        usage_hour,
        team_id,
        user_id,
        model,
        custom_llm_provider,
        call_type,
        cost_usd
    from spend_logs
    where merge_reason is not null
)

select * from final
