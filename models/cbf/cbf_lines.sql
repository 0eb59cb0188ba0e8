-- One row per UTC hour and resource: what CloudZero receives, in the column names of its Common Bill Format.
-- A tag is a function of resource/id, because CloudZero keeps one value per resource and tag.
{{ config(contract={'enforced': true}, pre_hook="{{ declare_custom_dimensions() }}") }}

with

usage_hours as (
    select * from {{ ref('int_usage__hourly') }}
    -- On Spark, an hour that has no usage any more has a row with 0 requests.
    where {{ is_sent_provider('provider') }} and request_count is distinct from 0
),

owned as (
    select
        *,
        coalesce(team_id, user_id) as owner_id,
        {{ czrn_component('coalesce(team_id, user_id)') }} as owner_component
    from usage_hours
),

identified as (
    select
        *,
        {{ czrn_owner('owner_id', 'owner_component') }} as owner_part,
        {{ cloud_local_id() }} as local_id
    from owned
),

final as (
    select
        cast('Usage' as {{ dbt.type_string() }}) as {{ cbf_column('lineitem/type') }},
        cloud_provider as {{ cbf_column('lineitem/cloud_provider') }},
        usage_hour as {{ cbf_column('time/usage_start') }},
        cost_usd as {{ cbf_column('cost/cost') }},
        total_tokens as {{ cbf_column('usage/amount') }},
        cast('tokens' as {{ dbt.type_string() }}) as {{ cbf_column('usage/units') }},
        {{ czrn('provider', 'owner_part', 'local_id') }} as {{ cbf_column('resource/id') }},
        cast('litellm' as {{ dbt.type_string() }}) as {{ cbf_column('resource/service') }},
        owner_part as {{ cbf_column('resource/account') }},
        cast('cross-region' as {{ dbt.type_string() }}) as {{ cbf_column('resource/region') }},
        cast('llm-usage' as {{ dbt.type_string() }}) as {{ cbf_column('resource/usage_family') }},
        {%- if project_var('streams') %}
        -- Not sent: it decides which stream the line is sent to.
        {{ line_stream('team_id', 'provider', czrn('provider', 'owner_part', 'local_id')) }} as stream,
        {%- endif %}
        {{ resource_tag_columns() }}
    from identified
)

select * from final
