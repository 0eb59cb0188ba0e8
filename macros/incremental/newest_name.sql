{# A name by its age: `current`, that of LiteLLM's table, else `kept`, the one that the hour had before this run, or `carried`, the one that
   its requests had. A kept name came from LiteLLM's table, so it is newer than what the requests carried; without such tables it is older. #}
{% macro newest_name(current, kept, carried) -%}
    {%- if not is_incremental() -%}
        {{ return('coalesce(' ~ current ~ ', ' ~ carried ~ ')') }}
    {%- elif has_name_tables() -%}
        {{ return('coalesce(' ~ [current, kept, carried] | join(', ') ~ ')') }}
    {%- endif -%}
    {{ return('coalesce(' ~ [current, carried, kept] | join(', ') ~ ')') }}
{%- endmacro %}

{# A stored e-mail address, null unless it is stored as var user_email now requires: an address that is to be hashed or omitted must not
   come back from before. #}
{% macro kept_email(column) -%}
    {%- set setting = project_var('user_email') -%}
    {%- if setting == 'plain' -%}
        {{ return("case when " ~ column ~ " like '%@%' then " ~ column ~ " end") }}
    {%- elif setting == 'hashed' -%}
        {{ return("case when " ~ column ~ " not like '%@%' and length(" ~ column ~ ") = 16 then " ~ column ~ " end") }}
    {%- endif -%}
    {{ return('cast(null as ' ~ dbt.type_string() ~ ')') }}
{%- endmacro %}
