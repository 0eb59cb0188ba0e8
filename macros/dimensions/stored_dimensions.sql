{# The dimensions that lines are or were split by: the configured ones, and custom ones that were removed from the configuration but
   still split past hours. #}
{% macro stored_dimensions() %}
    {%- set dimensions = line_dimensions() -%}
    {%- set known = dimensions | map(attribute='column') | list -%}
    {%- set usage_hours = ref('int_usage__hourly') -%}
    {%- set stored = load_relation(usage_hours) if is_run() else none -%}
    {%- if stored is not none -%}
        {%- for column in adapter.get_columns_in_relation(stored) | map(attribute='name') | sort
            if column not in known and (column.startswith('tag__') or column.startswith('metadata__')) -%}
            {%- do dimensions.append({'column': column, 'id_key': column}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(dimensions) }}
{% endmacro %}
