{# For one of LiteLLM's own tables, column name → its SQL: quoted if the table has the column, a typed null if an older LiteLLM lacks
   it. A missing column that every LiteLLM has stops the run: a null in its place would hide that the table has changed, and its cost. #}
{% macro litellm_columns(relation, required, optional) %}
    {%- set present = required + optional | list -%}
    {%- if is_run() -%}
        {%- set present = adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
        {%- set missing = required | reject('in', present) | list -%}
        {%- if missing -%}
            {{ exceptions.raise_compiler_error(
                (relation ~ " lacks the column(s) " ~ missing | join(', ') ~ ". To fix: set the var litellm_schema to the schema of LiteLLM's own tables.")
                if present else
                ("Could not find the table " ~ relation ~ ", or this role may not read it. To fix: set the var litellm_schema to the"
                ~ " schema of LiteLLM's tables, or grant select on the table.")
            ) }}
        {%- endif -%}
        {%- do stop_if_hidden(relation, required + optional | list) -%}
    {%- endif -%}
    {%- set columns = {} -%}
    {%- for name in required -%}{%- do columns.update({name: adapter.quote(name)}) -%}{%- endfor -%}
    {%- for name, type in optional.items() -%}
        {%- do columns.update({name: adapter.quote(name) if name in present else 'cast(null as ' ~ type ~ ')'}) -%}
    {%- endfor -%}
    {{ return(columns) }}
{% endmacro %}


{# A select of the names in one of LiteLLM's tables (teams, users, …) and, if this LiteLLM has one, in the table that deleted rows are moved
   to: one row per id, the current one before a deleted one, so that a join can never repeat a row and its cost.
   `columns` maps our column names to LiteLLM's; the first one is the id. Files have no such tables: there, names come from the
   spend logs. #}
{% macro litellm_names(current, deleted, columns) -%}
    {{ return(adapter.dispatch('litellm_names', 'litellm_cbf')(current, deleted, columns)) }}
{%- endmacro %}

{% macro duckdb__litellm_names(current, deleted, columns) %}
    {{ return(no_names(columns)) }}
{% endmacro %}

{# `distinct on`, because PostgreSQL estimates its rows well. After `row_number() … = 1` it expects 0.5 % of them, and then joins names to
   hours by nested loops that compare every name with every row. #}
{% macro postgres__litellm_names(current, deleted, columns) %}
    {%- set id = columns | first -%}
    {%- set selects = [] -%}
    {%- for relation, is_current in [(current, 'true'), (deleted, 'false')] if relation is not none -%}
        {%- if is_current == 'true' or not is_run() or load_relation(relation) is not none -%}
            {%- set optional = {} -%}
            {%- for source_name in columns.values() -%}{%- do optional.update({source_name: 'text'}) -%}{%- endfor -%}
            {%- set sql_of = litellm_columns(relation, [columns[id]], optional) -%}
            {%- set selected = [] -%}
            {%- for name, source_name in columns.items() -%}{%- do selected.append(sql_of[source_name] ~ ' as ' ~ name) -%}{%- endfor -%}
            {%- do selects.append('select ' ~ selected | join(', ') ~ ', ' ~ is_current ~ ' as is_current from ' ~ relation) -%}
        {%- endif -%}
    {%- endfor -%}
    select distinct on ({{ id }}) *
    from (
        {{ selects | join('\n        union all\n        ') }}
    ) as names
    where {{ blank_to_null(id) }} is not null
    order by {{ id }}, is_current desc
{% endmacro %}

{% macro spark__litellm_names(current, deleted, columns) %}
    {{ return(no_names(columns)) }}
{% endmacro %}

{# A select of these columns without rows. #}
{% macro no_names(columns) %}
    {%- set nulls = [] -%}
    {%- for name in columns -%}{%- do nulls.append('cast(null as ' ~ dbt.type_string() ~ ') as ' ~ name) -%}{%- endfor -%}
    {{ return('select ' ~ nulls | join(', ') ~ ', true as is_current where false') }}
{% endmacro %}
