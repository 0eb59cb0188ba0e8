-- One row per request that is counted although a part of it could not be read or is unusual, with its money and the warning.
-- Its money is in a line: nothing is left out here.
with

spend_logs as (
    select * from {{ ref('stg_litellm__spend_logs') }}
),

final as (
    select
        request_id,
        warning,
        source_file,
        started_at,
        team_id,
        user_id,
        model,
        custom_llm_provider,
        cost_usd
    from spend_logs
    where warning is not null
)

select * from final
