-- One row per organization.
{{ names_once(
    litellm_names(
        source('litellm', 'organizations'), none,
        {'organization_id': 'organization_id', 'organization_alias': 'organization_alias'}
    ),
    key='organization_id'
) }}
