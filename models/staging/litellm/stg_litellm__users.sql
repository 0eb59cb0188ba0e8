-- One row per internal user.
{%- set columns = {'user_id': 'user_id', 'user_email': 'user_email', 'user_alias': 'user_alias'} %}
with

names as (
    {{ litellm_names(source('litellm', 'users'), none, columns) }}
),

final as (
    select * from names
)

select * from final
