-- One row per UTC hour, team, user, provider, model and chosen dimension: the one place that sums.
-- Kept for good: an hour is replaced by what the source says now, unless the source holds fewer of its requests
-- than were summed before, because retention deletes raw logs and must not delete money that was summed.
{{ config(
    materialized='incremental',
    incremental_strategy=hourly_incremental_strategy(),
    unique_key='usage_hour',
    partition_by=day_partition(),
    on_schema_change='append_new_columns',
    full_refresh=false,
    pre_hook="{{ one_run_at_a_time(this) }}",
    indexes=[{'columns': ['usage_hour']}, {'columns': ['summed_at']}],
) }}

-- depends_on: {{ ref('base_litellm__spend_logs') }}
{%- set window_start = usage_window_start(this) if is_incremental() else none %}
{%- set changed = changed_hours(this, window_start) if window_start else none %}
{%- set dimensions = line_dimensions() %}
{%- set grain = ['usage_hour', 'team_id', 'provider', 'model'] + dimensions | map(attribute='column') | list %}

with

spend_logs as (
    select * from {{ ref('stg_litellm__spend_logs') }}
    where
        rejection_reason is null
        -- A failed request without spend is no usage; one that cost money is.
        and (cost_usd <> 0 or (coalesce(status, 'success') <> 'failure' and (total_tokens > 0 or prompt_tokens > 0 or completion_tokens > 0)))
        and {{ hour_condition(window_start, changed, 'started_at') }}
),

providers as (
    select * from {{ ref('llm_providers') }}
),

teams as (
    select * from {{ ref('stg_litellm__teams') }}
),

users as (
    select * from {{ ref('stg_litellm__users') }}
),

api_keys as (
    select * from {{ ref('stg_litellm__api_keys') }}
),

organizations as (
    select * from {{ ref('stg_litellm__organizations') }}
),

-- A request without provider is placed by the prefix of its model (bedrock/anthropic.claude-3), where that prefix
-- is a provider; meta-llama/Llama-3 is not.
provided as (
    select
        spend_logs.*,
        coalesce(
            spend_logs.custom_llm_provider, by_model.custom_llm_provider, by_model_group.custom_llm_provider
        ) as provider_name
    from spend_logs
    left join providers as by_model on {{ known_provider_prefix('spend_logs.model') }} = by_model.custom_llm_provider
    left join providers as by_model_group
        on {{ known_provider_prefix('spend_logs.model_group') }} = by_model_group.custom_llm_provider
),

labelled as (
    select
        provided.usage_hour,
        provided.started_at,
        provided.team_id,
        coalesce(providers.czrn_provider, {{ czrn_component('provided.provider_name') }}) as provider,
        coalesce(providers.cloud_provider, provided.provider_name) as cloud_provider,
        coalesce(provided.model, 'unknown') as model,
        {%- for dimension in dimensions %}
        {%- if dimension.name == 'user' and not dimension.is_chosen %}
        -- Without a team the user is the owner, chosen or not.
        case when provided.team_id is null then provided.user_id end as user_id,
        {%- elif not dimension.is_chosen %}
        cast(null as {{ dbt.type_string() }}) as {{ dimension.column }},
        {%- elif dimension.name == 'end_user' %}
        {{ private_text('provided.end_user', var('end_user')) }} as end_user,
        {%- else %}
        {{ dimension.source }} as {{ dimension.column }},
        {%- endif %}
        {%- endfor %}
        provided.organization_id as request_organization_id,
        provided.team_alias,
        provided.user_email,
        provided.api_key_alias,
        provided.organization_alias,
        provided.project_alias,
        provided.cost_usd,
        provided.prompt_tokens,
        provided.completion_tokens,
        provided.total_tokens
    from provided
    left join providers on lower(provided.provider_name) = providers.custom_llm_provider
),

hourly as (
    select
        {{ grain | join(',\n        ') }},
        min({{ by_bytes('cloud_provider') }}) as cloud_provider,
        count(*) as request_count,
        min(started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(prompt_tokens) as prompt_tokens,
        sum(completion_tokens) as completion_tokens,
        sum(total_tokens) as total_tokens,
        -- Names as the requests carried them: what is used where LiteLLM's tables have none (any more).
        {{ latest_value('team_alias', 'started_at') }} as team_alias,
        {{ latest_value('user_email', 'started_at') }} as user_email,
        {{ latest_value('api_key_alias', 'started_at') }} as api_key_alias,
        {{ latest_value('organization_alias', 'started_at') }} as organization_alias,
        {{ latest_value('project_alias', 'started_at') }} as project_alias,
        {{ latest_value('request_organization_id', 'started_at') }} as request_organization_id
    from labelled
    group by {{ grain | join(', ') }}
),

hours_now as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at
    from hourly
    group by usage_hour
),
{%- if is_incremental() %}

hours_before as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at
    from {{ this }}
    where {{ hour_condition(window_start, changed) }}
    group by usage_hour
),

-- Retention takes the oldest first: an hour that begins later than before has been cut, whatever landed since.
replaceable_hours as (
    select hours_now.usage_hour
    from hours_now
    left join hours_before on hours_now.usage_hour = hours_before.usage_hour
    where
        hours_before.usage_hour is null
        {%- if var('rebuild_thinner_hours') %}
        or true
        {%- endif %}
        or (
            hours_now.request_count >= hours_before.request_count
            and hours_now.first_started_at <= hours_before.first_started_at
        )
),
{%- else %}

replaceable_hours as (
    select usage_hour from hours_now
),
{%- endif %}

-- What the source said of an hour, so that the next run need not sum it again while it says the same.
source_hours as (
    {%- if changed %}
    select
        listed.usage_hour,
        listed.source_checksum
    from
        (
            values
            {%- for each in changed %}
            ({{ dbt.cast(sql_text(each.hour), 'timestamp') }}, '{{ each.checksum }}'){{ ',' if not loop.last }}
            {%- endfor %}
        ) as listed (usage_hour, source_checksum)
    {%- else %}
    select
        cast(null as timestamp) as usage_hour,
        cast(null as {{ dbt.type_string() }}) as source_checksum
    where false
    {%- endif %}
),

final as (
    select
        hourly.usage_hour,
        hourly.team_id,
        hourly.provider,
        hourly.model,
        {%- for dimension in dimensions %}
        hourly.{{ dimension.column }},
        {%- endfor %}

        cast(hourly.cloud_provider as {{ dbt.type_string() }}) as cloud_provider,
        case when hourly.team_id is not null then coalesce(teams.organization_id, hourly.request_organization_id) end
            as team_organization_id,
        case when hourly.team_id is not null then coalesce({{ blank_to_null('teams.team_alias') }}, hourly.team_alias) end
            as team_alias,
        case
            when hourly.user_id is not null
                then {{ private_text('coalesce(' ~ blank_to_null('users.user_email') ~ ', hourly.user_email)', var('user_email')) }}
        end as user_email,
        case
            when hourly.api_key is not null
                then coalesce({{ blank_to_null('api_keys.api_key_alias') }}, hourly.api_key_alias)
        end as api_key_alias,
        case
            when hourly.organization_id is not null
                then coalesce({{ blank_to_null('organizations.organization_alias') }}, hourly.organization_alias)
        end as organization_alias,
        case when hourly.project_id is not null then hourly.project_alias end as project_alias,

        cast(hourly.request_count as {{ dbt.type_bigint() }}) as request_count,
        hourly.first_started_at,
        {%- if day_partition() %}
        cast(hourly.usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        cast(hourly.prompt_tokens as {{ dbt.type_bigint() }}) as prompt_tokens,
        cast(hourly.completion_tokens as {{ dbt.type_bigint() }}) as completion_tokens,
        cast(hourly.total_tokens as {{ dbt.type_bigint() }}) as total_tokens,
        cast(hourly.cost_usd as {{ usd_type() }}) as cost_usd,
        {{ this_run() }} as summed_at,
        cast(source_hours.source_checksum as {{ dbt.type_string() }}) as source_checksum
    from hourly
    inner join replaceable_hours on hourly.usage_hour = replaceable_hours.usage_hour
    left join source_hours on hourly.usage_hour = source_hours.usage_hour
    left join teams on hourly.team_id = teams.team_id
    left join users on hourly.user_id = users.user_id
    left join api_keys on hourly.api_key = api_keys.api_key
    left join organizations on hourly.organization_id = organizations.organization_id
)

select * from final
{{ stored_order('usage_hour') }}
