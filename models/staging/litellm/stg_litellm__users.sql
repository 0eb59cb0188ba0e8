-- One row per internal user.
{{ names_once(
    litellm_names(
        source('litellm', 'users'), none,
        {'user_id': 'user_id', 'user_email': 'user_email', 'user_alias': 'user_alias'}
    ),
    key='user_id'
) }}
