{# The name of the stream that a line goes to, as SQL; empty for the default stream, which gets all other lines. If lines are split
   by hash, each stream takes an equal range of the MD5s of resource/id. #}
{% macro line_stream(team, provider, resource_id) -%}
    {%- set split = line_streams() -%}
    {%- set parts = ['case'] -%}
    {%- for stream in split.streams -%}
        {%- if split.by == 'hash' -%}
            {%- set bound = '%08x' | format((4294967296 * loop.index) // loop.length) -%}
            {%- do parts.append(
                ('when ' ~ by_bytes('substring(' ~ dbt.hash(resource_id) ~ ', 1, 8)') ~ " < '" ~ bound ~ "' then " if not loop.last else 'else ')
                ~ sql_text(stream.name)
            ) -%}
        {%- else -%}
            {%- set values = [] -%}
            {%- for value in stream['values'] -%}{%- do values.append(sql_text(value)) -%}{%- endfor -%}
            {%- do parts.append('when ' ~ (team if split.by == 'team' else provider) ~ ' in (' ~ values | join(', ') ~ ') then ' ~ sql_text(stream.name)) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if split.by != 'hash' -%}{%- do parts.append("else ''") -%}{%- endif -%}
    {%- if split.by == 'hash' and split.streams | length == 1 -%}
        {{ return('cast(' ~ sql_text(split.streams[0].name) ~ ' as ' ~ dbt.type_string() ~ ')') }}
    {%- endif -%}
    {{ return('cast(' ~ parts | join(' ') ~ ' end as ' ~ dbt.type_string() ~ ')') }}
{%- endmacro %}
