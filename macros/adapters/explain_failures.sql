{# After a failed run: one line that says which spend log file cannot be read, and which line of it. #}
{% macro explain_failures(results) -%}
    {{ return(adapter.dispatch('explain_failures', 'litellm_cbf')(results)) }}
{%- endmacro %}

{% macro default__explain_failures(results) %}
    {%- for result in results if execute and result.message and 'llm_providers' in result.message and result.status == 'error' -%}
        {%- do log("Error: the table of provider names is not there yet: run `dbt build`, or `dbt seed`, once before `dbt run`.", info=true) -%}
    {%- endfor -%}
{% endmacro %}

{# DuckDB names the file, but counts lines of JSON one too far, and prints what stands in a broken line of CSV,
   which may be a prompt. The line is looked for here, and its text is not shown. #}
{% macro duckdb__explain_failures(results) %}
    {%- do default__explain_failures(results) -%}
    {%- if execute -%}
    {%- for result in results if result.message and 'alformed JSON in file' in result.message -%}
        {%- set file = modules.re.search('in file "([^"]+)"', result.message).group(1) -%}
        {%- set lines = "read_csv(" ~ sql_text(file) ~ ", columns = {'line': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false,"
            ~ " auto_detect = false, max_line_size = 67108864)" -%}
        {%- set broken = run_query(
            "select line_number from (select row_number() over () as line_number, line from " ~ lines ~ ")"
            ~ " where trim(line) <> '' and not json_valid(line) order by line_number limit 1"
        ).columns[0].values() -%}
        {%- set place = ', line ' ~ broken[0] if broken and 'line' in result.message else '' -%}
        {%- do log("Error: the spend log file " ~ file ~ place ~ " is not valid JSON. Mend or remove it and run dbt again; nothing was changed.", info=true) -%}
    {%- endfor -%}
    {%- for result in results if result.message and 'CSV Error on Line' in result.message -%}
        {%- set line = modules.re.search('CSV Error on Line: ([0-9]+)', result.message).group(1) -%}
        {%- set file = modules.re.search('file = (.+)', result.message).group(1) -%}
        {%- do log("Error: the spend log file " ~ file ~ ", line " ~ line ~ " is not valid CSV. Mend or remove it and run dbt again; nothing was changed.", info=true) -%}
    {%- endfor -%}
    {%- endif -%}
{% endmacro %}
