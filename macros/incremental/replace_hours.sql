{# An incremental strategy: the hours that were built again take the place of those that were there. dbt's delete+insert looks
   for the keys in the whole table; here the delete is told between which hours they lie, so that it touches these only. #}
{% macro get_incremental_replace_hours_sql(arguments) %}
    {%- set target, built, key = arguments['target_relation'], arguments['temp_relation'], arguments['unique_key'] -%}
    {%- set columns = arguments['dest_columns'] | map(attribute='quoted') | join(', ') -%}
    delete from {{ target }}
    where
        {{ key }} >= (select min({{ key }}) from {{ built }})
        and {{ key }} <= (select max({{ key }}) from {{ built }})
        and {{ key }} in (select {{ key }} from {{ built }});

    insert into {{ target }} ({{ columns }})
    select {{ columns }} from {{ built }}
{% endmacro %}
