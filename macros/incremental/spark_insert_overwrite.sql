{# Takes the place of dbt-spark's macro of this name, for models with a unique_key. Spark overwrites whole partitions (days),
   so what is stored of a day goes back in with it, unless its key came anew: the same outcome as delete+insert. A column
   that the model no longer has stays, with what it held. #}
{% macro get_insert_overwrite_sql(source_relation, target_relation, existing_relation) %}
    {%- set partition = config.get('partition_by') -%}
    {%- set key = config.get('unique_key') -%}
    {%- if partition is not string or key is not string -%}
        {{ exceptions.raise_compiler_error("insert_overwrite keeps what is stored by one partition_by column and one unique_key: "
            ~ target_relation ~ " lacks one of them") }}
    {%- endif -%}
    {#- Summed once, so that all three uses below speak of the same rows, whatever lands meanwhile. -#}
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
    {#- dbt-spark runs what comes back: here the end of the cache, which would else outlive the run on a server. -#}
    uncache table {{ source_relation }}
{% endmacro %}
