{# Which copies of a request a source can hold:
   `all`: those of files, where several exports may overlap and some have whole seconds.
   `same_start`: those of a table or view without a unique key. Only rows with the same start are compared, so that a range of
   "startTime" can use an index.
   `whole_seconds`: those that the key of LiteLLM's partitioned table, request_id and "startTime", lets in.
   `none`: request_id is unique, as in LiteLLM's own table, so that nothing needs to be sorted. #}
{% macro copies_to_find() -%}
    {{ return(adapter.dispatch('copies_to_find', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__copies_to_find() %}{{ return('all') }}{% endmacro %}

{# The rows of a unit test have no key. #}
{% macro postgres__copies_to_find() %}
    {%- if model is defined and model.resource_type == 'unit_test' -%}{{ return('all') }}{%- endif -%}
    {%- if not is_run() -%}{{ return('none') }}{%- endif -%}
    {#- Not a source(), which a unit test would have to bring. -#}
    {%- set spend_logs = graph.sources['source.litellm_cbf.litellm.spend_logs'] -%}
    {%- set keys = run_query(
        "select string_agg(cast(columns.attname as text), ' ' order by cast(columns.attname as text) collate \"C\")"
        ~ " from pg_catalog.pg_index as keys"
        ~ " inner join pg_catalog.pg_class as tables on keys.indrelid = tables.oid"
        ~ " inner join pg_catalog.pg_namespace as schemas on tables.relnamespace = schemas.oid"
        ~ " inner join pg_catalog.pg_attribute as columns"
        ~ " on keys.indrelid = columns.attrelid and columns.attnum = any(cast(keys.indkey as smallint[]))"
        ~ " where schemas.nspname = " ~ sql_text(spend_logs.schema) ~ " and tables.relname = " ~ sql_text(spend_logs.identifier)
        ~ " and keys.indisunique and keys.indisvalid and keys.indpred is null and keys.indexprs is null"
        ~ " group by keys.indexrelid"
    ).columns[0].values() -%}
    {%- if 'request_id' in keys -%}{{ return('none') }}{%- endif -%}
    {{ return('whole_seconds' if 'request_id startTime' in keys else 'same_start') }}
{% endmacro %}

{% macro spark__copies_to_find() %}{{ return('all') }}{% endmacro %}


{# The batch or background response that a spend log charges for, null if it charges for none. LiteLLM writes the whole cost of a finished
   one whenever it is retrieved, under its id, and once more under the id with `_batch_cost` or `_background_cost`. #}
{% macro job_id(request_id, call_type, spend) -%}
    case
        when {{ spend }} <> 0 and {{ is_poll(request_id, call_type) }}
            then {{ regexp_replace_all(request_id, '(_batch_cost|_background_cost)$', '') }}
    end
{%- endmacro %}

{# Whether a spend log is that of a job's retrieval. #}
{% macro is_poll(request_id, call_type) -%}
    (
        {{ call_type }} in ('aretrieve_batch', 'retrieve_batch', 'aget_responses', 'get_responses')
        or right({{ request_id }}, 16) = '_background_cost'
    )
{%- endmacro %}

{# Whether a spend log is the one that counts for its job: base_litellm__billed_jobs, or the relation `billed_jobs` in its place, has its
   id and start. A lookup and not a join, because PostgreSQL would scan the jobs again for each row if it expects few rows. #}
{% macro is_charge(request_id, started_at, billed_jobs) -%}
    ({{ request_id }}, {{ comparable_start(started_at) }}) in (select billed_jobs.request_id, billed_jobs.started_at from {{ billed_jobs }} as billed_jobs)
{%- endmacro %}

{# The start by which the spend log that counts is found again: to the second where another export may have cut it. #}
{% macro comparable_start(column) -%}
    {{ return(
        dbt.date_trunc('second', column) if copies_to_find() == 'all' else column
    ) }}
{%- endmacro %}

{# A condition on stg_litellm__spend_logs and the views below it that keeps the requests which start in the whole hours from `start` on and
   before `end`, as is_within does. Where copies are found by a window, only a column that it is partitioned by reaches the source. #}
{% macro starts_within(start, end, relation=none) -%}
    {%- set prefix = relation ~ '.' if relation else '' -%}
    {%- set column = 'usage_hour' if copies_to_find() == 'all' else 'started_at' -%}
    {{ return(is_within(prefix ~ column, start, end)) }}
{%- endmacro %}
