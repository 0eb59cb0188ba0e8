-- One row per team that LiteLLM has or had: the current team before a deleted one with the same id.
{%- set columns = {'team_id': 'team_id', 'team_alias': 'team_alias', 'organization_id': 'organization_id'} %}
with

names as (
    {{ litellm_names(source('litellm', 'teams'), source('litellm', 'deleted_teams'), columns) }}
),

final as (
    select * from names
)

select * from final
