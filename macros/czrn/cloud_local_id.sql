{# The last part of the CZRN: the bare model, then `|key=value` for each dimension that the line is split by. It is
   read off the columns and not off the configuration: a line that was summed under other dimensions keeps its id. #}
{% macro cloud_local_id() -%}
    {{ czrn_local_part('model', keep_separators=true) }}
        -- A team that bears its member's own id would else share a resource with that user's lines without a team.
        || case when team_id = user_id then '|team=' || {{ czrn_local_part('team_id') }} else '' end
    {%- for dimension in stored_dimensions() %}
        || coalesce('|{{ dimension.id_key }}=' || {{ czrn_local_part(dimension.column) }}, '')
    {%- endfor -%}
{%- endmacro %}
