-- One row per team that LiteLLM knows or knew: a current team before a deleted one of the same id.
{{ names_once(
    litellm_names(
        source('litellm', 'teams'), source('litellm', 'deleted_teams'),
        {'team_id': 'team_id', 'team_alias': 'team_alias', 'organization_id': 'organization_id'}
    ),
    key='team_id'
) }}
