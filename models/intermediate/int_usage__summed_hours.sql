-- One row per UTC hour, team, user, provider, model and chosen dimension: requests are summed here and nowhere else.
-- It holds only the hours that the last run summed, whose spend logs had changed; int_usage__hourly keeps them. With rebuild_thinner_hours,
-- one row with 0 requests stands for a stored hour of which the source has no usage any more.
{{ config(materialized='table', pre_hook="{{ one_run_at_a_time(load_kept_hours()) }}", post_hook="{{ analyze_table(this) }}") }}

-- What the macros below read:
-- depends_on: {{ ref('base_litellm__spend_logs') }}, {{ ref('stg_litellm__teams') }}, {{ ref('stg_litellm__users') }}
-- depends_on: {{ ref('stg_litellm__api_keys') }}, {{ ref('stg_litellm__organizations') }}
{%- set hours = hours_to_sum() %}
{%- set dimensions = line_dimensions() %}
{%- set names = [
    'cloud_provider', 'team_organization_id', 'team_alias', 'user_email', 'api_key_alias', 'organization_alias', 'project_alias',
] %}
{%- set grain = ['usage_hour', 'team_id', 'provider', 'model'] + dimensions | map(attribute='column') | list %}

with

spend_logs as (
    select * from {{ ref('stg_litellm__spend_logs') }}
    where {{ hours.condition }}
),

providers as (
    select * from {{ ref('llm_providers') }}
),

-- The checksum lets the next run see whether the spend logs of an hour have changed since.
source_hours as (
    {%- if hours.source_hours %}
    select * from (
        values
        {%- for hour, checksum in hours.source_hours.items() %}
        ({{ timestamp_literal(hour) }}, '{{ checksum }}'){{ ',' if not loop.last }}
        {%- endfor %}
    ) as listed (usage_hour, source_checksum)
    {%- else %}
    select
        cast(null as timestamp) as usage_hour,
        cast(null as {{ dbt.type_string() }}) as source_checksum
    where false
    {%- endif %}
),

usage_logs as (
    select * from spend_logs
    where {{ is_usage() }}
    {%- if hours.has_gaps %}
    -- Within a case expression, or PostgreSQL would expect no more rows than there are hours.
    and case when usage_hour in (select source_hours.usage_hour from source_hours) then 'listed' else 'unlisted' end <> 'unlisted'
    {%- endif %}
),

-- A request without a provider gets one from the prefix of its model (bedrock/anthropic.claude-3) if that prefix is the name
-- of a provider; that of meta-llama/Llama-3 is not.
provided as (
    select
        usage_logs.*,
        coalesce(
            usage_logs.custom_llm_provider, by_model.custom_llm_provider, by_model_group.custom_llm_provider
        ) as provider_name
    from usage_logs
    left join providers as by_model on {{ known_provider_prefix('usage_logs.model') }} = by_model.custom_llm_provider
    left join providers as by_model_group
        on {{ known_provider_prefix('usage_logs.model_group') }} = by_model_group.custom_llm_provider
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
        -- The user owns the cost of a request without a team, whether or not `user` is a dimension.
        case when provided.team_id is null then provided.user_id end as user_id,
        {%- elif not dimension.is_chosen %}
        cast(null as {{ dbt.type_string() }}) as {{ dimension.column }},
        {%- elif dimension.name == 'end_user' %}
        {{ private_text('provided.end_user', project_var('end_user')) }} as end_user,
        {%- else %}
        {{ dimension.source }} as {{ dimension.column }},
        {%- endif %}
        {%- endfor %}
        provided.organization_id as team_organization_id,
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

summed as (
    select
        {{ grain | join(',\n        ') }},
        min({{ by_bytes('cloud_provider') }}) as cloud_provider,
        count(*) as request_count,
        min(started_at) as first_started_at,
        sum(cost_usd) as cost_usd,
        sum(prompt_tokens) as prompt_tokens,
        sum(completion_tokens) as completion_tokens,
        sum(total_tokens) as total_tokens,
        {{ latest_value('team_organization_id', 'started_at') }} as team_organization_id,
        {{ latest_value('team_alias', 'started_at') }} as team_alias,
        {{ latest_value('user_email', 'started_at') }} as user_email,
        {{ latest_value('api_key_alias', 'started_at') }} as api_key_alias,
        {{ latest_value('organization_alias', 'started_at') }} as organization_alias,
        {{ latest_value('project_alias', 'started_at') }} as project_alias
    from labelled
    group by {{ grain | join(', ') }}
),

{%- if hours.emptied %}

emptied_hours as (
    select distinct usage_hour
    from {{ load_kept_hours() }}
    where request_count > 0 and {{ hours.emptied }} and usage_hour not in (select summed.usage_hour from summed)
),
{%- endif %}

final as (
    select
        summed.usage_hour,
        summed.team_id,
        summed.provider,
        summed.model,
        {%- for dimension in dimensions %}
        summed.{{ dimension.column }},
        {%- endfor %}

        -- Names from the requests, for the dimensions that the row has.
        cast(summed.cloud_provider as {{ dbt.type_string() }}) as cloud_provider,
        case when summed.team_id is not null then summed.team_organization_id end as team_organization_id,
        case when summed.team_id is not null then summed.team_alias end as team_alias,
        case when summed.user_id is not null then {{ private_text('summed.user_email', project_var('user_email')) }} end as user_email,
        case when summed.api_key is not null then summed.api_key_alias end as api_key_alias,
        case when summed.organization_id is not null then summed.organization_alias end as organization_alias,
        case when summed.project_id is not null then summed.project_alias end as project_alias,

        cast(summed.request_count as {{ dbt.type_bigint() }}) as request_count,
        summed.first_started_at,
        cast(summed.prompt_tokens as {{ dbt.type_bigint() }}) as prompt_tokens,
        cast(summed.completion_tokens as {{ dbt.type_bigint() }}) as completion_tokens,
        cast(summed.total_tokens as {{ dbt.type_bigint() }}) as total_tokens,
        cast(summed.cost_usd as {{ usd_type() }}) as cost_usd,
        cast(source_hours.source_checksum as {{ dbt.type_string() }}) as source_checksum
    from summed
    left join source_hours on summed.usage_hour = source_hours.usage_hour
    {%- if hours.emptied %}

    union all

    select
        usage_hour,
        cast(null as {{ dbt.type_string() }}) as team_id,
        cast('unknown' as {{ dbt.type_string() }}) as provider,
        cast('unknown' as {{ dbt.type_string() }}) as model,
        {%- for column in dimensions | map(attribute='column') | list + names %}
        cast(null as {{ dbt.type_string() }}) as {{ column }},
        {%- endfor %}
        cast(0 as {{ dbt.type_bigint() }}) as request_count,
        usage_hour as first_started_at,
        cast(0 as {{ dbt.type_bigint() }}) as prompt_tokens,
        cast(0 as {{ dbt.type_bigint() }}) as completion_tokens,
        cast(0 as {{ dbt.type_bigint() }}) as total_tokens,
        cast(0 as {{ usd_type() }}) as cost_usd,
        cast(null as {{ dbt.type_string() }}) as source_checksum
    from emptied_hours
    {%- endif %}
)

select * from final
