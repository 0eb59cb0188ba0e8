-- One row per UTC hour, team, user, provider, model and chosen dimension, with the names that LiteLLM's tables have for them.
-- Kept permanently: an hour is replaced by its new sum unless that covers fewer of its requests than the stored one, because
-- retention deletes spend logs and must not delete cost that was summed.
{{ config(
    materialized='incremental',
    incremental_strategy=hourly_incremental_strategy(),
    unique_key='usage_hour',
    partition_by=day_partition(),
    on_schema_change='append_new_columns',
    full_refresh=false,
    pre_hook="{{ one_run_at_a_time(this) }}",
    indexes=[{'columns': ['usage_hour']}],
    post_hook="{{ without_emptied_hours(this) }}",
) }}

with

summed as (
    select * from {{ ref('int_usage__summed_hours') }}
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

summed_hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at
    from {{ ref('int_usage__summed_hours') }}
    group by usage_hour
),
{%- if is_incremental() %}

-- What the summed hours held before.
kept as (
    select * from {{ this }}
    where
        usage_hour >= (select min(summed_hours.usage_hour) from summed_hours)
        and usage_hour <= (select max(summed_hours.usage_hour) from summed_hours)
        and usage_hour in (select summed_hours.usage_hour from summed_hours)
),

kept_teams as (
    select
        usage_hour,
        team_id,
        max({{ by_bytes('team_organization_id') }}) as team_organization_id,
        max({{ by_bytes('team_alias') }}) as team_alias
    from kept
    where team_id is not null
    group by usage_hour, team_id
),

kept_users as (
    select
        usage_hour,
        user_id,
        max({{ by_bytes(kept_email('user_email')) }}) as user_email
    from kept
    where user_id is not null
    group by usage_hour, user_id
),

kept_api_keys as (
    select
        usage_hour,
        api_key,
        max({{ by_bytes('api_key_alias') }}) as api_key_alias
    from kept
    where api_key is not null
    group by usage_hour, api_key
),

kept_organizations as (
    select
        usage_hour,
        organization_id,
        max({{ by_bytes('organization_alias') }}) as organization_alias
    from kept
    where organization_id is not null
    group by usage_hour, organization_id
),
{%- endif %}
{%- if is_incremental() and not project_var('rebuild_thinner_hours') %}

kept_hours as (
    select
        usage_hour,
        sum(request_count) as request_count,
        min(first_started_at) as first_started_at
    from kept
    where request_count > 0
    group by usage_hour
),
{%- endif %}

-- Retention deletes the oldest requests first: an hour whose first request is later than before was cut, even if late rows arrived.
-- Milliseconds do not make it later: they may come from a second export of the same request.
replaced_hours as (
    select summed_hours.usage_hour
    from summed_hours
    {%- if is_incremental() and not project_var('rebuild_thinner_hours') %}
    left join kept_hours on summed_hours.usage_hour = kept_hours.usage_hour
    where
        -- As in is_usage, a case expression keeps PostgreSQL's row estimate realistic.
        case
            when kept_hours.usage_hour is null then true
            else
                summed_hours.request_count >= kept_hours.request_count
                and {{ dbt.date_trunc('second', 'summed_hours.first_started_at') }} <= kept_hours.first_started_at
        end
    {%- endif %}
),

final as (
    select
        summed.usage_hour,
        summed.team_id,
        summed.provider,
        summed.model,
        {%- for dimension in line_dimensions() %}
        summed.{{ dimension.column }},
        {%- endfor %}

        -- LiteLLM's tables have the current name. Where they have none, because the team was deleted or there are no tables, the name
        -- is the one that the hour had before or that the requests carried.
        summed.cloud_provider,
        {{ newest_name('teams.organization_id', 'kept_teams.team_organization_id', 'summed.team_organization_id') }} as team_organization_id,
        {{ newest_name(blank_to_null('teams.team_alias'), 'kept_teams.team_alias', 'summed.team_alias') }} as team_alias,
        {{ newest_name(private_text(blank_to_null('users.user_email'), project_var('user_email')), 'kept_users.user_email', 'summed.user_email') }}
            as user_email,
        {{ newest_name(blank_to_null('api_keys.api_key_alias'), 'kept_api_keys.api_key_alias', 'summed.api_key_alias') }} as api_key_alias,
        {{ newest_name(
            blank_to_null('organizations.organization_alias'), 'kept_organizations.organization_alias', 'summed.organization_alias'
        ) }} as organization_alias,
        summed.project_alias,

        summed.request_count,
        summed.first_started_at,
        {%- if day_partition() %}
        cast(summed.usage_hour as date) as {{ day_partition() }},
        {%- endif %}
        summed.prompt_tokens,
        summed.completion_tokens,
        summed.total_tokens,
        summed.cost_usd,
        {{ this_run() }} as summed_at,
        summed.source_checksum,
        cast({{ sql_text(invocation_id) }} as {{ dbt.type_string() }}) as invocation_id
    from summed
    inner join replaced_hours on summed.usage_hour = replaced_hours.usage_hour
    left join teams on summed.team_id = teams.team_id
    left join users on summed.user_id = users.user_id
    left join api_keys on summed.api_key = api_keys.api_key
    left join organizations on summed.organization_id = organizations.organization_id
    {%- if is_incremental() %}
    left join kept_teams on summed.usage_hour = kept_teams.usage_hour and summed.team_id = kept_teams.team_id
    left join kept_users on summed.usage_hour = kept_users.usage_hour and summed.user_id = kept_users.user_id
    left join kept_api_keys on summed.usage_hour = kept_api_keys.usage_hour and summed.api_key = kept_api_keys.api_key
    left join kept_organizations
        on summed.usage_hour = kept_organizations.usage_hour and summed.organization_id = kept_organizations.organization_id
    {%- endif %}
)

select * from final
{{ stored_order('usage_hour') }}
