-- One row per request that cannot be assigned to an hour or summed, with its cost and the reason.
-- Together with int_usage__hourly it accounts for every cent in staging.
with

spend_logs as (
    select * from {{ ref('stg_litellm__spend_logs') }}
),

final as (
    select
        request_id,
        rejection_reason,
        source_file,
        started_at,
        team_id,
        user_id,
        model,
        custom_llm_provider,
        status,
        cast(spend as {{ dbt.type_string() }}) as spend,
        cost_usd
    from spend_logs
    where rejection_reason is not null
)

select * from final
