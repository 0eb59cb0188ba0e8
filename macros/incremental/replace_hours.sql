{# An incremental strategy that replaces the hours that were built again. dbt's delete+insert searches the whole table for the keys;
   this delete is bounded by the first and the last of them. #}
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
