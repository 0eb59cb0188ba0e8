{# A list of selects that together read every file that matches the glob `path`: one for each kind of file and, where kinds are mixed,
   for each folder. #}
{% macro spark_spend_log_files(path) %}
    {%- if not is_run() -%}
        {{ return([spark_select_spend_logs('json_lines', '`' ~ path | replace('`', '``') ~ '`')]) }}
    {%- endif -%}
    {%- set kinds = {
        'jsonl': 'json_lines', 'ndjson': 'json_lines', 'jsonl.gz': 'json_lines', 'ndjson.gz': 'json_lines', 'json': 'json',
        'parquet': 'parquet', 'pq': 'parquet',
    } -%}
    {%- set files = spark_list_files(path) -%}
    {%- set files_of = {'json_lines': [], 'json': [], 'parquet': [], 'other': []} -%}
    {%- for file in files -%}
        {%- set extension = modules.re.search('([.](jsonl|ndjson)[.]gz|[.][^./]*)?$', file).group(0)[1:] -%}
        {%- do files_of[kinds.get(extension, 'other')].append(file) -%}
    {%- endfor -%}
    {%- set others = files_of.pop('other') -%}
    {%- if others -%}
        {%- do exceptions.warn(
            "LITELLM_SPEND_LOGS=" ~ path ~ " also matches " ~ others | length ~ " file(s) that are left out, such as " ~ others[0]
            ~ ". On Spark, spend logs are read from .jsonl, .ndjson, .json and .parquet"
        ) -%}
    {%- endif -%}
    {%- set selects = [] -%}
    {%- for kind, same_files in files_of.items() if same_files -%}
        {%- for place in ([path] if same_files | length == files | length else spark_globs(same_files)) -%}
            {%- do selects.append(spark_select_spend_logs(kind, '`' ~ place | replace('`', '``') ~ '`')) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if not selects -%}
        {%- do exceptions.warn(
            "No spend log file matches LITELLM_SPEND_LOGS=" ~ path ~ ". To fix: set it to a glob such as 'exports/*.parquet'."
            ~ " Hours that were summed before are kept."
        ) -%}
    {%- endif -%}
    {{ return(selects) }}
{% endmacro %}

{# Every file that matches a glob. Spark rejects a glob without a match, so the folder before the first wildcard is listed and the glob
   is applied here. Contents are not read. #}
{% macro spark_list_files(path) %}
    {%- set folder = modules.re.match('[^*?{\\[]*', path).group(0).rpartition('/')[0] or '.' -%}
    {%- do run_query(
        "create or replace temporary view litellm_cbf_files using binaryFile options (path " ~ sql_text(folder)
        ~ ", recursiveFileLookup 'true')"
    ) -%}
    {%- set pattern = namespace(text=modules.re.escape(path).lstrip('/')) -%}
    {%- for glob, expression in [('\\*', '[^/]*'), ('\\?', '[^/]'), ('\\{', '('), ('\\}', ')'), ('\\[', '['), ('\\]', ']')] -%}
        {%- set pattern.text = pattern.text | replace(glob, expression) -%}
    {%- endfor -%}
    {%- if '{' in path -%}{%- set pattern.text = pattern.text | replace(',', '|') -%}{%- endif -%}
    {%- set files = [] -%}
    {%- for file in run_query("select path from litellm_cbf_files order by path").columns[0].values() -%}
        {%- do files.append(file) if modules.re.search('(^|/)' ~ pattern.text ~ '$', file) -%}
    {%- endfor -%}
    {{ return(files) }}
{% endmacro %}

{# Globs that match exactly these files, one for each folder. #}
{% macro spark_globs(files) %}
    {%- set folders = {} -%}
    {%- for file in files -%}
        {%- set folder, _, name = file.rpartition('/') -%}
        {%- do folders.setdefault(folder, []).append(modules.re.sub('([*?{}\\[\\],\\\\])', '\\\\\\1', name)) -%}
    {%- endfor -%}
    {%- set globs = [] -%}
    {%- for folder, names in folders.items() -%}
        {%- do globs.append(folder ~ '/' ~ ('{' ~ names | join(',') ~ '}' if names | length > 1 else names[0])) -%}
    {%- endfor -%}
    {{ return(globs) }}
{% endmacro %}

{# Documents (lines, or whole files) as `document`, each checked to be a single JSON object: Spark itself would read what it can of a broken
   one and ignore what follows it. The text of the line, which may contain a prompt, is never shown. #}
{% macro spark_documents(kind, files) %}
    {%- set broken = "raise_error(concat('The spend log file ', file, ' is not valid JSON.'))" -%}
    {%- if kind == 'json_lines' -%}
        {{ return(
            "select case when size(from_json(concat('[', value, ']'), 'array<string>')) = 1 and ltrim(value) like '{%' then value else "
            ~ broken ~ " end as document from (select value, _metadata.file_path as file from text." ~ files
            ~ ") as lines where trim(value) <> ''"
        ) }}
    {%- endif -%}
    {#- A list of objects, one object over several lines, or JSON lines in spite of the extension. -#}
    {{ return(
        "select case when size(from_json(concat('[', document, ']'), 'array<string>')) = 1 and ltrim(document) like '{%' then document else "
        ~ broken ~ " end as document from (select file, explode(case"
        ~ " when ltrim(content) like '[%' then coalesce(from_json(content, 'array<string>'), array('broken'))"
        ~ " when size(from_json(concat('[', content, ']'), 'array<string>')) = 1 then array(content)"
        ~ " else split(content, '\\n') end) as document from (select path as file, decode(content, 'UTF-8') as content from binaryFile."
        ~ files ~ ") as files) as documents where trim(document) <> ''"
    ) }}
{% endmacro %}

{# A select of the raw columns from files of one kind, null where the files lack one. #}
{% macro spark_select_spend_logs(kind, files) %}
    {%- set fields = file_fields() -%}
    {%- set types = {} -%}
    {%- set from_files = '(select 1) as nothing where false' -%}
    {%- if kind == 'parquet' -%}
        {%- for row in run_query("describe query select * from parquet." ~ files).rows -%}
            {%- do types.update({row[0]: row[1]}) -%}
        {%- endfor -%}
        {%- if 'startTime' not in types or ('spend' not in types and 'response_cost' not in types) -%}
            {{ exceptions.raise_compiler_error(
                "LITELLM_SPEND_LOGS matches parquet files that are not spend logs: they need the columns startTime and spend,"
                ~ " and have: " ~ types | join(', ')
            ) }}
        {%- endif -%}
        {%- set from_files = 'parquet.' ~ files -%}
    {%- elif kind is not none -%}
        {%- for same_kind in fields.values() -%}
            {%- for key in same_kind.values() -%}{%- do types.update({key: 'string'}) -%}{%- endfor -%}
        {%- endfor -%}
        {%- set schema = '`' ~ types | join('` string, `') ~ '` string' -%}
        {%- set from_files = "(select inline(array(from_json(document, " ~ sql_text(schema) ~ "))) from ("
            ~ spark_documents(kind, files) ~ ") as checked) as read" -%}
    {%- endif -%}
    {%- set selected = [] -%}
    {%- for name, key in fields['text'].items() -%}
        {%- do selected.append(('cast(`' ~ key ~ '` as string)' if key in types else 'cast(null as string)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['time'].items() -%}
        {%- do selected.append((spark_utc_timestamp('`' ~ key ~ '`', types[key]) if key in types else 'cast(null as timestamp)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['document'].items() -%}
        {%- set nested = types.get(key, 'string') != 'string' -%}
        {%- set text = spark_nested_document('`' ~ key ~ '`') if nested else '`' ~ key ~ '`' -%}
        {%- do selected.append((text if key in types else 'cast(null as string)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {{ return('select ' ~ selected | join(', ') ~ ' from ' ~ from_files) }}
{% endmacro %}

{# A nested column as JSON text. DuckDB writes values of different types in it as strings of JSON, which Spark cannot distinguish from other
   strings: the quotes would end up in tags and ids. So they stop the run. #}
{% macro spark_nested_document(column) -%}
    {{ return(
        "case when instr(to_json(" ~ column ~ "), " ~ sql_text(':"\\"') ~ ") > 0 then raise_error('The column metadata of a Parquet"
        ~ " file holds JSON as texts inside of a nested value.') else to_json(" ~ column ~ ") end"
    ) }}
{%- endmacro %}

{# UTC, truncated to milliseconds like LiteLLM's timestamp(3). A number is seconds since the epoch. #}
{% macro spark_utc_timestamp(column, type) %}
    {%- if type.startswith('timestamp') -%}
        {{ return("date_trunc('millisecond', cast(" ~ column ~ " as timestamp))") }}
    {%- endif -%}
    {%- set text = "trim(cast(" ~ column ~ " as string))" -%}
    {{ return(
        "date_trunc('millisecond', case"
        ~ " when try_cast(" ~ text ~ " as double) between 0 and 100000000000"
        ~ " then timestamp_micros(cast(round(try_cast(" ~ text ~ " as double) * 1000000) as bigint))"
        ~ " when " ~ text ~ " rlike '^[0-9]{4}-[0-9]{2}-[0-9]{2}' then try_cast(" ~ text ~ " as timestamp) end)"
    ) }}
{% endmacro %}

{# Text as a double; null if blank, NaN if it is not a number. Java would accept 1d and 0x1p3 too. #}
{% macro spark_number(column) -%}
    case
        when trim({{ column }}) rlike '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$' then cast(trim({{ column }}) as double)
        when trim({{ column }}) <> '' then cast('NaN' as double)
    end
{%- endmacro %}

{# JSON as text. A JSON string that contains a document (a jsonb column exported as text) is unwrapped. #}
{% macro spark_json_document(column) -%}
    case when ltrim({{ column }}) like '"%' then get_json_object({{ column }}, '$') else {{ column }} end
{%- endmacro %}
