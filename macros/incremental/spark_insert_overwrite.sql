{# Replaces dbt-spark's macro of this name, for models with a unique_key. Spark overwrites whole partitions (days), so the stored rows of
   a day are written back with the new ones, unless their key was built again: the result is that of delete+insert. A column
   that the model no longer has is kept, with its values. #}
{% macro get_insert_overwrite_sql(source_relation, target_relation, existing_relation) %}
    {%- set partition = config.get('partition_by') -%}
    {%- set key = config.get('unique_key') -%}
    {%- if partition is not string or key is not string -%}
        {{ exceptions.raise_compiler_error("insert_overwrite needs exactly one partition_by column and one unique_key. To fix: configure both for "
            ~ target_relation ~ ".") }}
    {%- endif -%}
    {#- Computed once, so that all three statements below see the same rows, whatever lands in the meantime. -#}
    {%- do run_query('cache table ' ~ source_relation) -%}
    {%- set days = run_query(
        'select distinct cast(' ~ partition ~ ' as string) as day from ' ~ source_relation ~ ' order by day'
    ).columns[0].values() -%}
    {%- set new_names = adapter.get_columns_in_relation(source_relation) | map(attribute='name') | list -%}
    {%- set new_columns = [] -%}
    {%- set stored_columns = [] -%}
    {%- for column in adapter.get_columns_in_relation(target_relation) -%}
        {%- do stored_columns.append('stored.' ~ column.quoted) -%}
        {%- do new_columns.append(
            column.quoted if column.name in new_names else 'cast(null as ' ~ column.data_type ~ ') as ' ~ column.quoted
        ) -%}
    {%- endfor -%}
    {%- set overwrite -%}
    insert overwrite table {{ target_relation }} partition ({{ partition }})
    select * from (
        select {{ new_columns | join(', ') }} from {{ source_relation }}
        {%- if days %}
        union all
        select {{ stored_columns | join(', ') }}
        from {{ target_relation }} as stored
        left anti join {{ source_relation }} as new_rows on stored.{{ key }} = new_rows.{{ key }}
        where stored.{{ partition }} in ({% for day in days %}date '{{ day }}'{{ ', ' if not loop.last }}{% endfor %})
        {%- endif %}
    )
    distribute by {{ partition }}
    {%- endset -%}
    {%- do run_query(overwrite) -%}
    {#- dbt-spark runs the statement that is returned: it ends the cache, which on a server would outlive the run. -#}
    uncache table {{ source_relation }}
{% endmacro %}
