{# A statement that deletes the rows with which int_usage__summed_hours says that an hour has no usage any more, after they have replaced the
   hour in `relation` (int_usage__hourly); empty without rebuild_thinner_hours, and where rows cannot be deleted. #}
{% macro without_emptied_hours(relation) -%}
    {{ return(adapter.dispatch('without_emptied_hours', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{% macro duckdb__without_emptied_hours(relation) %}
    {%- if not is_run() or not project_var('rebuild_thinner_hours') -%}{{ return('') }}{%- endif -%}
    {{ return(
        'delete from ' ~ relation ~ ' where request_count = 0 and usage_hour in (select emptied.usage_hour from '
        ~ built_relation('int_usage__summed_hours') ~ ' as emptied where emptied.request_count = 0)'
    ) }}
{% endmacro %}

{% macro postgres__without_emptied_hours(relation) %}{{ return(litellm_cbf.duckdb__without_emptied_hours(relation)) }}{% endmacro %}

{# A row with 0 requests stays: cbf_lines leaves it out. #}
{% macro spark__without_emptied_hours(relation) %}{{ return('') }}{% endmacro %}
