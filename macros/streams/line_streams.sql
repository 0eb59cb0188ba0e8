{# The validated var streams: none for a single stream; otherwise what lines are split by, and each stream's name and values (none
   if they are split by hash). #}
{% macro line_streams() %}
    {%- set wanted = project_var('streams') -%}
    {%- if not wanted -%}{{ return(none) }}{%- endif -%}
    {%- set shape = ", such as {by: team, names: {research: [team-1, team-2]}}, {by: provider, names: {openai: [openai]}} or {by: hash, names: [one, two]}" -%}
    {%- if wanted is not mapping or wanted.by not in ['team', 'provider', 'hash'] or wanted | length != 2 or not wanted.names -%}
        {{ exceptions.raise_compiler_error("var streams is not valid: " ~ wanted ~ ". It must have `by` and `names`" ~ shape ~ ".") }}
    {%- endif -%}
    {%- if wanted.names is string or (wanted.by == 'hash') == (wanted.names is mapping) -%}
        {{ exceptions.raise_compiler_error("var streams: `names` is not valid: " ~ wanted.names ~ ". By " ~ wanted.by ~ ", it must be a " ~ ('list' if wanted.by == 'hash' else 'mapping of lists') ~ shape ~ ".") }}
    {%- endif -%}
    {%- set taken = [] -%}
    {%- set streams = [] -%}
    {%- for name in wanted.names -%}
        {%- if not modules.re.match('^(?!default$)[a-z][a-z0-9_]{0,40}\\Z', name | string) or name in streams | map(attribute='name') -%}
            {{ exceptions.raise_compiler_error(
                "var streams: '" ~ name ~ "' is not a valid name. A name must be unique, start with a lowercase letter, consist of lowercase letters, digits"
                ~ " and _, and not be `default`, because the loader reads CLOUDZERO_CONNECTION_ID_" ~ name | string | upper ~ "."
            ) }}
        {%- endif -%}
        {%- set values = [] if wanted.by == 'hash' else wanted.names[name] -%}
        {%- if wanted.by != 'hash' and (values is string or values is not iterable or not values | list) -%}
            {{ exceptions.raise_compiler_error("var streams: the value of " ~ name ~ " must be a list of " ~ wanted.by ~ "s, such as [" ~ values ~ "].") }}
        {%- endif -%}
        {%- for value in values if value is not string -%}
            {{ exceptions.raise_compiler_error(
                "var streams: " ~ value ~ " in " ~ name ~ " is not text, because YAML reads unquoted values such as 0123 or no as something"
                ~ " else: quote each " ~ wanted.by ~ ", such as ['0123']"
            ) }}
        {%- endfor -%}
        {%- if wanted.by == 'provider' -%}
            {%- set values = czrn_providers('streams', values) -%}
        {%- endif -%}
        {%- for value in values -%}
            {%- if value in taken -%}
                {{ exceptions.raise_compiler_error("var streams: the " ~ wanted.by ~ " '" ~ value ~ "' is in two streams, and a line goes to one. To fix: remove it from one of them.") }}
            {%- endif -%}
            {%- do taken.append(value) -%}
        {%- endfor -%}
        {%- do streams.append({'name': name | string, 'values': values}) -%}
    {%- endfor -%}
    {{ return({'by': wanted.by, 'streams': streams}) }}
{% endmacro %}
