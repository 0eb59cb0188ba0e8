{# Tag key → its SQL over the columns of int_usage__hourly. A tag that is null is not sent. #}
{% macro resource_tags() -%}
    {%- set text = dbt.type_string() -%}
    {%- set no_text = 'cast(null as ' ~ text ~ ')' -%}
    {%- set tags = {
        'provider': "nullif(provider, 'unknown')",
        'model': "nullif(model, 'unknown')",
        'team_id': 'team_id',
        'team_alias': 'team_alias',
        'user_id': 'user_id',
        'user_email': 'user_email',
        'organization_id': 'coalesce(organization_id, team_organization_id)',
        'organization_alias': 'organization_alias',
        'api_key': 'api_key',
        'api_key_alias': 'api_key_alias',
        'end_user': 'end_user',
        'project_id': 'project_id',
        'project_alias': 'project_alias',
        'model_group': 'model_group',
        'call_type': 'call_type',
        'agent_id': 'agent_id',
        'prompt_tokens': 'cast(prompt_tokens as ' ~ text ~ ')' if project_var('token_tags') else no_text,
        'completion_tokens': 'cast(completion_tokens as ' ~ text ~ ')' if project_var('token_tags') else no_text,
    } -%}
    {%- for dimension in line_dimensions() if dimension.is_custom -%}
        {%- do tags.update({dimension.tag: dimension.column}) -%}
    {%- endfor -%}
    {{ return(tags) }}
{%- endmacro %}
