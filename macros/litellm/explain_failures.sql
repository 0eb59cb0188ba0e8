{# After a failed run: one line for each thing that is in the way, what it is and how to fix it. #}
{% macro explain_failures(results) -%}
    {%- set explanations = adapter.dispatch('explain_failures', 'litellm_cbf')(results) if execute else [] -%}
    {%- for explanation in explanations | unique -%}
        {%- do log('Error: ' ~ explanation, info=true) -%}
    {%- endfor -%}
{%- endmacro %}

{% macro default__explain_failures(results) %}
    {%- set explanations = [] -%}
    {%- for result in results if result.status == 'error' and 'llm_providers' in (result.message or '') -%}
        {%- do explanations.append(
            "the table of provider names does not exist yet. To fix: run `dbt build`, or `dbt seed`, once before `dbt run`."
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
