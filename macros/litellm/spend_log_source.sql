{# Where the spend logs are, for people: `description`, and `files`, the number of files that match, or none for a table. #}
{% macro spend_log_source(spend_logs) -%}
    {{ return(adapter.dispatch('spend_log_source', 'litellm_cbf')(spend_logs)) }}
{%- endmacro %}

{% macro duckdb__spend_log_source(spend_logs) %}
    {%- set path = env_var('LITELLM_SPEND_LOGS', 'data/spend_logs/*') -%}
    {%- set files = run_query("select count(*) from glob(" ~ sql_text(path) ~ ")").rows[0][0] if is_run() else 0 -%}
    {{ return({'description': 'The files of LITELLM_SPEND_LOGS=' ~ path, 'files': files}) }}
{% endmacro %}

{% macro postgres__spend_log_source(spend_logs) %}
    {{ return({'description': 'The table ' ~ spend_logs.schema ~ '.' ~ spend_logs.identifier, 'files': none}) }}
{% endmacro %}

{% macro spark__spend_log_source(spend_logs) %}
    {%- set path = env_var('LITELLM_SPEND_LOGS', 'data/spend_logs/*') -%}
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
