-- One row per organization.
{%- set columns = {'organization_id': 'organization_id', 'organization_alias': 'organization_alias'} %}
with

names as (
    {{ litellm_names(source('litellm', 'organizations'), none, columns) }}
),

final as (
    select * from names
)

select * from final
