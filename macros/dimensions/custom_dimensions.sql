{# The dimensions tag:<key> and metadata:<key> in var line_dimensions. The tag key is <key> itself or, if a built-in tag or another dimension
   already has it, the dimension's full name, such as metadata:env. #}
{% macro custom_dimensions(chosen) %}
    {%- set taken = [
        'provider', 'model', 'team_id', 'team_alias', 'user_id', 'user_email', 'api_key', 'api_key_alias', 'end_user',
        'organization_id', 'organization_alias', 'project_id', 'project_alias', 'model_group', 'call_type', 'agent_id',
        'prompt_tokens', 'completion_tokens',
    ] -%}
    {%- set columns = [] -%}
    {%- set dimensions = [] -%}
    {%- for origin in ['tag', 'metadata'] -%}
        {%- for name in chosen | unique(case_sensitive=true) | sort(case_sensitive=true) if name.startswith(origin ~ ':') -%}
            {%- set key = name[(origin | length) + 1:] -%}
            {%- if not modules.re.match('^[A-Za-z0-9_.:/=+@-]{1,50}\\Z', key) -%}
                {{ exceptions.raise_compiler_error(
                    "var line_dimensions: '" ~ name ~ "' is not valid. A key must be 1 to 50 characters long and consist of letters, digits"
                    ~ " and _ . : / = + - @, as CloudZero's tag keys do."
                ) }}
            {%- endif -%}
            {%- set column = origin ~ '__' ~ modules.re.sub('[^a-z0-9]', '_', key.lower()) -%}
            {%- if column in columns -%}
                {{ exceptions.raise_compiler_error(
                    "var line_dimensions: '" ~ name ~ "' and another key would share the column " ~ column ~ ". To fix: remove one of them."
                ) }}
            {%- endif -%}
            {%- set tag = name if key in taken else key -%}
            {%- do columns.append(column) -%}
            {%- do taken.append(tag) -%}
            {%- do dimensions.append({
                'name': name, 'column': column, 'tag': tag, 'id_key': column, 'is_chosen': true, 'is_custom': true,
                'source': request_tag_value('request_tags', key) if origin == 'tag' else json_text('spend_logs_metadata', key),
            }) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(dimensions) }}
{% endmacro %}
