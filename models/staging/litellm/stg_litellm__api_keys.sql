-- One row per virtual key that LiteLLM has or had, by the hash that spend logs carry; never the key itself.
{%- set columns = {'api_key': 'token', 'api_key_alias': 'key_alias'} %}
with

names as (
    {{ litellm_names(source('litellm', 'api_keys'), source('litellm', 'deleted_api_keys'), columns) }}
),

final as (
    select * from names
)

select * from final
