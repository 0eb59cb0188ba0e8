{# Column name → its SQL, for one of LiteLLM's own tables: quoted where the table has it, a typed null where an
   older LiteLLM lacks it. A column that every LiteLLM has and this table has not stops the run: filling it with
   null would hide a changed table, and its money. #}
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
    {%- endif -%}
    {%- set columns = {} -%}
    {%- for name in required -%}{%- do columns.update({name: adapter.quote(name)}) -%}{%- endfor -%}
    {%- for name, type in optional.items() -%}
        {%- do columns.update({name: adapter.quote(name) if name in present else 'cast(null as ' ~ type ~ ')'}) -%}
    {%- endfor -%}
    {{ return(columns) }}
{% endmacro %}


{# LiteLLM's table of names (teams, users, …) and, where this LiteLLM has one, the table its deleted rows move to.
   `columns` maps our name → LiteLLM's. Files carry no such tables: there a name comes from the row itself. #}
{% macro litellm_names(current, deleted, columns) -%}
    {{ return(adapter.dispatch('litellm_names', 'litellm_cbf')(current, deleted, columns)) }}
{%- endmacro %}

{% macro duckdb__litellm_names(current, deleted, columns) %}
    {%- set nulls = [] -%}
    {%- for name in columns -%}{%- do nulls.append('cast(null as varchar) as ' ~ name) -%}{%- endfor -%}
    {{ return('select ' ~ nulls | join(', ') ~ ', true as is_current where false') }}
{% endmacro %}

{% macro postgres__litellm_names(current, deleted, columns) %}
    {%- set selects = [] -%}
    {%- for relation, is_current in [(current, 'true'), (deleted, 'false')] if relation is not none -%}
        {%- set exists = not is_run() or load_relation(relation) is not none -%}
        {%- if exists or is_current == 'true' -%}
            {%- set optional = {} -%}
            {%- for source_name in columns.values() -%}{%- do optional.update({source_name: 'text'}) -%}{%- endfor -%}
            {%- set sql_of = litellm_columns(relation, [columns.values() | first], optional) -%}
            {%- set selected = [] -%}
            {%- for name, source_name in columns.items() -%}{%- do selected.append(sql_of[source_name] ~ ' as ' ~ name) -%}{%- endfor -%}
            {%- do selects.append('select ' ~ selected | join(', ') ~ ', ' ~ is_current ~ ' as is_current from ' ~ relation) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(selects | join(' union all ')) }}
{% endmacro %}

{% macro spark__litellm_names(current, deleted, columns) %}
    {%- set nulls = [] -%}
    {%- for name in columns -%}{%- do nulls.append('cast(null as string) as ' ~ name) -%}{%- endfor -%}
    {{ return('select ' ~ nulls | join(', ') ~ ', true as is_current where false') }}
{% endmacro %}
