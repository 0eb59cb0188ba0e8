{# The last part of the CZRN: the bare model, then `|key=value` for each dimension that splits the line. It depends on the columns
   that have a value, not on the configuration, so a line that was summed under other dimensions keeps its id. #}
{% macro cloud_local_id() -%}
    {{ czrn_local_part('model', keep_separators=true) }}
        -- Otherwise a team with the id of a user would share a resource with that user's lines without a team.
        || case when team_id = user_id then '|team=' || {{ czrn_local_part('team_id') }} else '' end
    {%- for dimension in stored_dimensions() %}
        || coalesce('|{{ dimension.id_key }}=' || {{ czrn_local_part(dimension.column) }}, '')
    {%- endfor -%}
{%- endmacro %}
