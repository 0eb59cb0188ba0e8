{# Where the spend logs are, for people: `description`, and `files`, the number of files that match, or none for a table. #}
{% macro spend_log_source(spend_logs) -%}
    {{ return(adapter.dispatch('spend_log_source', 'litellm_cbf')(spend_logs)) }}
{%- endmacro %}

{% macro duckdb__spend_log_source(spend_logs) %}
    {%- set path = spend_log_path() -%}
    {%- set files = run_query("select count(*) from glob(" ~ sql_text(path) ~ ")").rows[0][0] if is_run() else 0 -%}
    {{ return({'description': 'The files of LITELLM_SPEND_LOGS=' ~ path, 'files': files}) }}
{% endmacro %}

{% macro postgres__spend_log_source(spend_logs) %}
    {{ return({'description': 'The table ' ~ spend_logs.schema ~ '.' ~ spend_logs.identifier, 'files': none}) }}
{% endmacro %}

{% macro spark__spend_log_source(spend_logs) %}
    {%- set path = spend_log_path() -%}
    {{ return({
        'description': 'The files of LITELLM_SPEND_LOGS=' ~ path,
        'files': spark_list_files(path) | length if is_run() else 0,
    }) }}
{% endmacro %}


{# Whether a spend log may be without a start. LiteLLM's own table requires one, so that there a range of "startTime" is enough. #}
{% macro start_can_be_missing() -%}
    {{ return(adapter.dispatch('start_can_be_missing', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__start_can_be_missing() %}{{ return(true) }}{% endmacro %}

{% macro postgres__start_can_be_missing() %}{{ return(false) }}{% endmacro %}

{% macro spark__start_can_be_missing() %}{{ return(true) }}{% endmacro %}


{# The glob of the spend log files, for the engines that read files. #}
{% macro spend_log_path() %}{{ return(env_var('LITELLM_SPEND_LOGS', 'data/spend_logs/*')) }}{% endmacro %}


{# The hour under which rejected requests without a start are counted. #}
{% macro hour_without_start() -%}
    {{ timestamp_literal('1970-01-01 00:00:00') }}
{%- endmacro %}


{# The values of read_problem that are about a file as a whole. #}
{% macro file_problems() %}
    {{ return(['not_json', 'not_utf8', 'gzip_without_suffix', 'not_gzip', 'not_parquet', 'not_spend_logs']) }}
{% endmacro %}


{# Whether a file has a name under which LiteLLM's S3 and GCS loggers write one request: *.json, or without an extension. #}
{% macro holds_one_request(source_file) -%}
    {%- set name = "split_part(" ~ source_file ~ ", '/', -1)" -%}
    (lower({{ name }}) like '%.json' or lower({{ name }}) like '%.json.%' or {{ name }} not like '%.%')
{%- endmacro %}
