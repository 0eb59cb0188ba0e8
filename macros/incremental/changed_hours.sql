{# The hours from `window_start` on of which the source does not say what it said when `relation` (int_usage__hourly) summed
   them: a list of `hour` and `checksum`, texts. None when nothing was remembered: then all of them are to be summed.
   The checksums are taken before the sums, so a row that lands between the two makes the next run look again. #}
{% macro changed_hours(relation, window_start) %}
    {%- if not is_run() or 'source_checksum' not in adapter.get_columns_in_relation(relation) | map(attribute='name') | list -%}
        {{ return(none) }}
    {%- endif -%}
    {%- set start = dbt.cast(sql_text(window_start), 'timestamp') -%}
    {%- set hour = "cast(usage_hour as " ~ dbt.type_string() ~ ")" -%}
    {%- set before = {} -%}
    {%- for row in run_query(
        "select " ~ hour ~ ", max(source_checksum) from " ~ relation ~ " where usage_hour >= " ~ start ~ " group by usage_hour"
    ).rows -%}
        {%- do before.update({row[0]: row[1]}) -%}
    {%- endfor -%}
    {%- set meaning = summing_definition() -%}
    {%- set changed = [] -%}
    {%- for row in run_query(
        "select " ~ hour ~ ", count(*), " ~ rows_checksum(summed_columns()) ~ " from (select *, " ~ dbt.date_trunc('hour', 'started_at')
        ~ " as usage_hour from " ~ ref('base_litellm__spend_logs') ~ " where started_at >= " ~ start
        ~ (" and started_at < " ~ load_until() if load_until() else "") ~ ") as windowed group by usage_hour order by usage_hour"
    ).rows -%}
        {%- set checksum = local_md5(row[1] ~ ' ' ~ row[2] ~ ' ' ~ meaning) -%}
        {%- if before.get(row[0]) != checksum or var('rebuild_thinner_hours') -%}
            {%- do changed.append({'hour': row[0], 'checksum': checksum}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(changed) }}
{% endmacro %}

{# The columns of a spend log that a sum or its key is made of, and no others: some have to be cut out of a document, as a
   custom dimension always is. #}
{% macro summed_columns() %}
    {%- set columns = [
        'request_id', 'spend', 'prompt_tokens', 'completion_tokens', 'total_tokens', 'started_at', 'updated_at', 'status', 'model',
        'model_group', 'custom_llm_provider', 'team_id', 'user_id', 'organization_id',
    ] -%}
    {%- for dimension, column in [
        ('api_key', 'api_key'), ('project', 'project_id'), ('end_user', 'end_user'), ('call_type', 'call_type'), ('agent', 'agent_id'),
    ] if dimension in var('line_dimensions') -%}
        {%- do columns.append(column) -%}
    {%- endfor -%}
    {%- set chosen = var('line_dimensions') | join(' ') -%}
    {%- if 'tag:' in chosen -%}{%- do columns.append('request_tags') -%}{%- endif -%}
    {%- if 'metadata:' in chosen -%}{%- do columns.append('spend_logs_metadata') -%}{%- endif -%}
    {{ return(columns) }}
{% endmacro %}

{# A digest of all else that the sum of an hour depends on: this model, the vars that it reads, and LiteLLM's names. #}
{% macro summing_definition() %}
    {%- set parts = [model.raw_code, line_dimensions() | string, var('user_email'), var('end_user')] -%}
    {%- for relation, columns in [
        (ref('llm_providers'), ['custom_llm_provider', 'czrn_provider', 'cloud_provider']),
        (ref('stg_litellm__teams'), ['team_id', 'team_alias', 'organization_id']),
        (ref('stg_litellm__users'), ['user_id', 'user_email']),
        (ref('stg_litellm__api_keys'), ['api_key', 'api_key_alias']),
        (ref('stg_litellm__organizations'), ['organization_id', 'organization_alias']),
    ] -%}
        {%- do parts.append(run_query("select " ~ rows_checksum(columns) ~ " from " ~ relation).rows[0][0] | string) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | join('\n'))) }}
{% endmacro %}
