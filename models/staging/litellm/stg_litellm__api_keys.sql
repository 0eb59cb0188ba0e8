-- One row per virtual key that LiteLLM knows or knew, by the hash that spend logs carry; never the key itself.
{{ names_once(
    litellm_names(
        source('litellm', 'api_keys'), source('litellm', 'deleted_api_keys'),
        {'api_key': 'token', 'api_key_alias': 'key_alias'}
    ),
    key='api_key'
) }}
