{# The dimensions that can split a line, in the order in which they appear in resource/id. `column` is the column of int_usage__hourly,
   which is null unless the dimension is chosen (`is_chosen`); `source` is its name in staging; `tag` is the key of its resource
   tag. The custom dimensions, tag:<key> and metadata:<key>, come last. #}
{% macro line_dimensions() %}
    {%- set chosen = project_var('line_dimensions') -%}
    {%- set dimensions = [
        {'name': 'user', 'column': 'user_id', 'source': 'user_id', 'tag': 'user_id'},
        {'name': 'api_key', 'column': 'api_key', 'source': 'api_key', 'tag': 'api_key'},
        {'name': 'end_user', 'column': 'end_user', 'source': 'end_user', 'tag': 'end_user'},
        {'name': 'organization', 'column': 'organization_id', 'source': 'organization_id', 'tag': 'organization_id'},
        {'name': 'project', 'column': 'project_id', 'source': 'project_id', 'tag': 'project_id'},
        {'name': 'model_group', 'column': 'model_group', 'source': 'model_group', 'tag': 'model_group'},
        {'name': 'call_type', 'column': 'call_type', 'source': 'call_type', 'tag': 'call_type'},
        {'name': 'agent', 'column': 'agent_id', 'source': 'agent_id', 'tag': 'agent_id'},
    ] -%}
    {%- set known = dimensions | map(attribute='name') | list -%}
    {%- for dimension in dimensions -%}
        {%- do dimension.update({'id_key': dimension.name, 'is_chosen': dimension.name in chosen, 'is_custom': false}) -%}
    {%- endfor -%}
    {%- for name in chosen if name not in known and name.split(':')[0] not in ['tag', 'metadata'] -%}
        {{ exceptions.raise_compiler_error(
            "var line_dimensions: '" ~ name ~ "' is not a valid dimension. It must be one of " ~ known | join(', ') ~ ', tag:<key>, metadata:<key>.'
        ) }}
    {%- endfor -%}
    {{ return(dimensions + custom_dimensions(chosen)) }}
{% endmacro %}
