{# After a failed run: one line for each thing that is in the way, what it is and how to fix it, also with --quiet. #}
{% macro explain_failures(results) -%}
    {%- set explanations = adapter.dispatch('explain_failures', 'litellm_cbf')(results) if execute else [] -%}
    {%- for explanation in explanations | unique -%}
        {%- do print('Error: ' ~ explanation) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro default__explain_failures(results) %}
    {%- set explanations = [] -%}
    {%- for result in results if result.status == 'error' and 'llm_providers' in (result.message or '') -%}
        {%- do explanations.append(
            "the table of provider names does not exist yet. To fix: run `dbt build`, or `dbt seed`, once before `dbt run`."
        ) -%}
    {%- endfor -%}
    {%- for result in results if result.node.name == 'assert_no_file_is_rejected' and result.status == 'fail' -%}
        {%- do explanations.extend(explain_rejected_files()) -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}

{# The files that assert_no_file_is_rejected has found, at most 20. #}
{% macro explain_rejected_files() %}
    {%- set explanations = [] -%}
    {%- for file, reason, requests in run_query(
        "select source_file, min(rejection_reason), sum(request_count) from " ~ built_relation('int_usage__rejected_hours')
        ~ " where file_is_rejected and request_count > 0 group by source_file order by source_file limit 20"
    ).rows -%}
        {%- do explanations.append(
            "no request of the spend log file " ~ file ~ " was accepted (" ~ requests ~ " " ~ reason ~ "). To fix: see the reason in"
            ~ " docs/operating.md, then correct the file, or move it out of LITELLM_SPEND_LOGS; the other files were summed."
        ) -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}

{# A large .json file is streamed, and stops at what is not JSON; a compressed file stops where it is cut off. DuckDB names the file; the
   text, which may be a prompt, is not shown. #}
{% macro duckdb__explain_failures(results) %}
    {%- set explanations = default__explain_failures(results) -%}
    {%- for result in results if result.message -%}
        {%- set json = modules.re.search('Malformed JSON in file "([^"]+)"', result.message) -%}
        {%- set gzip = modules.re.search('Unexpected end of GZIP stream: ([^\n]+)', result.message) -%}
        {%- if json or gzip -%}
            {%- do explanations.append(
                "the spend log file " ~ (json or gzip).group(1) ~ (" is not valid JSON" if json else " is cut off")
                ~ ". To fix: correct or remove it and run dbt again; nothing was changed."
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}

{# Java's own message is pages long; what raise_error said stands somewhere in it. #}
{% macro spark__explain_failures(results) %}
    {%- set explanations = default__explain_failures(results) -%}
    {%- for result in results if result.message -%}
        {%- if 'holds JSON as texts inside of a nested value' in result.message -%}
            {%- do explanations.append(
                "the column metadata of a Parquet file is nested and contains strings of JSON, as DuckDB writes them: Spark would read"
                ~ " their quotes too. To fix: write metadata as one text (DuckDB: cast(metadata as varchar)), or give Spark JSON lines."
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}
