{# After a failed run: one line for each known cause, with how to fix it. #}
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

{# DuckDB names the file, but its line number is off by one for JSON. So the line is searched for here. Its text, which may contain a prompt, is
   never shown. #}
{% macro duckdb__explain_failures(results) %}
    {%- set explanations = default__explain_failures(results) -%}
    {%- set fix = " To fix: correct or remove it and run dbt again. No stored hour was changed." -%}
    {%- set json_files = [] -%}
    {%- for result in results if result.message -%}
        {%- if 'Malformed JSON in file' in result.message -%}
            {%- set place = modules.re.search('in file "([^"]+)", at byte [0-9]+ in (line)?', result.message) -%}
            {%- do json_files.append((place.group(1), place.group(2))) if place -%}
        {%- elif 'CSV Error on Line' in result.message -%}
            {%- set line = modules.re.search('CSV Error on Line: ([0-9]+)', result.message).group(1) -%}
            {%- set file = modules.re.search('file = (.+)', result.message).group(1) -%}
            {%- do explanations.append("the spend log file " ~ file ~ ", line " ~ line ~ " is not valid CSV." ~ fix) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- for file, is_of_lines in json_files | unique -%}
        {%- set place = ', line ' ~ duckdb_first_broken_line(file) if is_of_lines else '' -%}
        {%- do explanations.append("the spend log file " ~ file ~ place ~ " is not valid JSON." ~ fix) -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}

{# The number of the first line of a JSON lines file that is not valid JSON. #}
{% macro duckdb_first_broken_line(file) %}
    {%- set lines = "read_csv(" ~ sql_text(file) ~ ", columns = {'line': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '',"
        ~ " header = false, auto_detect = false, max_line_size = 67108864)" -%}
    {%- set numbers = run_query(
        "select line_number from (select row_number() over () as line_number, line from " ~ lines ~ ")"
        ~ " where trim(line) <> '' and not json_valid(line) order by line_number limit 1"
    ).columns[0].values() -%}
    {{ return(numbers[0] if numbers else 'unknown') }}
{% endmacro %}

{# Java's message is pages long. The text of raise_error is somewhere in it. #}
{% macro spark__explain_failures(results) %}
    {%- set explanations = default__explain_failures(results) -%}
    {%- for result in results if result.message -%}
        {%- set place = modules.re.search('The spend log file (?:file:)?(.+?) is not valid JSON', result.message) -%}
        {%- if place -%}
            {%- do explanations.append(
                "the spend log file " ~ place.group(1) ~ " is not valid JSON. To fix: correct or remove it and run dbt again. No stored hour was changed."
            ) -%}
        {%- endif -%}
        {%- if 'holds JSON as texts inside of a nested value' in result.message -%}
            {%- do explanations.append(
                "the column metadata of a Parquet file is nested and contains strings of JSON, as DuckDB writes them: Spark would read"
                ~ " their quotes too. To fix: write metadata as one text (DuckDB: cast(metadata as varchar)), or give Spark JSON lines."
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(explanations) }}
{% endmacro %}
