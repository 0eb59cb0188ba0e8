{# A checksum of the spend logs of each hour from `start` on, with the retrievals of batches that count, and of everything else that its
   sum depends on: hour → checksum, in order of the hours. Equal checksums mean that the hour need not be summed again. #}
{% macro source_checksums(start) %}
    {%- set definition = summing_definition() -%}
    {%- set checksums = {} -%}
    {%- for hour, row_count, rows_checksum in run_query(
        "select cast(usage_hour as " ~ dbt.type_string() ~ "), count(*), " ~ rows_checksum(summed_columns()) ~ " from (select *, "
        ~ dbt.date_trunc('hour', 'started_at') ~ " as usage_hour, case when " ~ is_poll('request_id', 'call_type') ~ " then case when "
        ~ is_charge('request_id', 'started_at', built_relation('base_litellm__billed_jobs')) ~ " then 1 else 0 end end as is_charge from "
        ~ ref('base_litellm__spend_logs') ~ " where " ~ is_within('started_at', start, load_until())
        ~ ") as spend_logs group by usage_hour order by usage_hour"
    ).rows -%}
        {%- do checksums.update({hour: local_md5(row_count ~ ' ' ~ rows_checksum ~ ' ' ~ definition)}) -%}
    {%- endfor -%}
    {{ return(checksums) }}
{% endmacro %}

{# The columns of a spend log that an hour's sum or its grain is made of, and no others: some are extracted from a JSON document, as
   custom dimensions always are. #}
{% macro summed_columns() %}
    {%- set columns = [
        'request_id', 'spend', 'prompt_tokens', 'completion_tokens', 'total_tokens', 'started_at', 'updated_at', 'status', 'model',
        'model_group', 'custom_llm_provider', 'team_id', 'user_id', 'organization_id', 'is_charge',
    ] -%}
    {%- for dimension, column in [
        ('api_key', 'api_key'), ('project', 'project_id'), ('end_user', 'end_user'), ('call_type', 'call_type'), ('agent', 'agent_id'),
    ] if dimension in project_var('line_dimensions') -%}
        {%- do columns.append(column) -%}
    {%- endfor -%}
    {%- set chosen = project_var('line_dimensions') | join(' ') -%}
    {%- if 'tag:' in chosen -%}{%- do columns.append('request_tags') -%}{%- endif -%}
    {%- if 'metadata:' in chosen -%}{%- do columns.append('spend_logs_metadata') -%}{%- endif -%}
    {{ return(columns) }}
{% endmacro %}

{# A digest of everything but its spend logs that a summed hour depends on: the SQL of the two models that make it, the vars that
   they read, the provider names and the names in LiteLLM's tables. #}
{% macro summing_definition() %}
    {%- set parts = [line_dimensions() | string, project_var('user_email'), project_var('end_user'), is_usage()] -%}
    {%- for name in ['int_usage__summed_hours', 'int_usage__hourly'] -%}
        {%- do parts.append(graph.nodes['model.litellm_cbf.' ~ name].raw_code) -%}
    {%- endfor -%}
    {%- set names = [
        (ref('llm_providers'), ['custom_llm_provider', 'czrn_provider', 'cloud_provider']),
        (ref('stg_litellm__teams'), ['team_id', 'team_alias', 'organization_id']),
        (ref('stg_litellm__users'), ['user_id', 'user_email']),
    ] -%}
    {%- if 'api_key' in project_var('line_dimensions') -%}
        {%- do names.append((ref('stg_litellm__api_keys'), ['api_key', 'api_key_alias'])) -%}
    {%- endif -%}
    {%- if 'organization' in project_var('line_dimensions') -%}
        {%- do names.append((ref('stg_litellm__organizations'), ['organization_id', 'organization_alias'])) -%}
    {%- endif -%}
    {%- for relation, columns in names -%}
        {%- do parts.append(run_query("select " ~ rows_checksum(columns) ~ " from " ~ relation).rows[0][0] | string) -%}
    {%- endfor -%}
    {{ return(local_md5(parts | join('\n'))) }}
{% endmacro %}
