{# A list of selects that together read every file that matches the glob `path`: one for each kind of file. #}
{% macro duckdb_spend_log_files(path) %}
    {%- if not is_run() -%}
        {%- set columns, files = duckdb_file_columns('json', [sql_text(path)])[0] -%}
        {{ return([duckdb_select_spend_logs(duckdb_reader('json', files[0], columns), columns)]) }}
    {%- endif -%}
    {%- set kinds = {
        'jsonl': 'json', 'ndjson': 'json', 'json': 'json', 'csv': 'csv', 'tsv': 'tsv', 'parquet': 'parquet', 'pq': 'parquet',
    } -%}
    {%- set files_of = {'json': [], 'csv': [], 'tsv': [], 'parquet': [], 'other': []} -%}
    {%- for file in run_query("select file from glob(" ~ sql_text(path) ~ ") order by file").columns[0].values() -%}
        {%- set extension = modules.re.sub('[.](gz|zst)$', '', file | lower).split('.')[-1] -%}
        {%- do files_of[kinds.get(extension, 'other')].append(sql_text(file)) -%}
    {%- endfor -%}
    {%- set others = files_of.pop('other') -%}
    {%- if others -%}
        {%- do exceptions.warn(
            "LITELLM_SPEND_LOGS=" ~ path ~ " also matches " ~ others | length ~ " file(s) that are left out, such as " ~ others[0]
            ~ ". Spend logs are read from .jsonl, .ndjson, .json, .csv, .tsv and .parquet"
        ) -%}
    {%- endif -%}
    {%- set selects = [] -%}
    {%- for kind, files in files_of.items() if files -%}
        {%- for columns, same_files in duckdb_file_columns(kind, files) -%}
            {%- set reader = duckdb_reader(kind, '[' ~ same_files | join(', ') ~ ']', columns) -%}
            {%- do selects.append(duckdb_select_spend_logs(reader, columns)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- if not selects -%}
        {%- do exceptions.warn(
            "No spend log file matches LITELLM_SPEND_LOGS=" ~ path ~ ". To fix: set it to a glob such as 'exports/*.parquet', or run"
            ~ " `loader sample`. Hours that were summed before are kept."
        ) -%}
    {%- endif -%}
    {{ return(selects) }}
{% endmacro %}

{# What is read of a spend log row or a StandardLoggingPayload object: our column → its key in the file. #}
{% macro file_fields() %}
    {{ return({
        'text': {
            'request_id': 'request_id', 'id': 'id', 'call_type': 'call_type', 'api_key': 'api_key', 'spend': 'spend',
            'response_cost': 'response_cost', 'prompt_tokens': 'prompt_tokens', 'completion_tokens': 'completion_tokens',
            'total_tokens': 'total_tokens', 'model': 'model', 'model_group': 'model_group',
            'custom_llm_provider': 'custom_llm_provider', 'user_id': 'user', 'team_id': 'team_id',
            'organization_id': 'organization_id', 'end_user': 'end_user', 'agent_id': 'agent_id', 'status': 'status',
        },
        'time': {
            'started_at': 'startTime', 'ended_at': 'endTime', 'created_at': 'created_at', 'updated_at': 'updated_at',
        },
        'document': {'request_tags': 'request_tags', 'metadata': 'metadata'},
    }) }}
{% endmacro %}

{# Files as a table. For CSV, columns and dialect are given: if DuckDB detected them itself, it would report that a file is broken, but
   not in which line. #}
{% macro duckdb_reader(kind, files, columns) %}
    {%- if kind == 'parquet' -%}
        {{ return("read_parquet(" ~ files ~ ", union_by_name = true)") }}
    {%- endif -%}
    {%- set typed = [] -%}
    {%- for name, type in columns.items() -%}{%- do typed.append(sql_text(name) ~ ': ' ~ sql_text(type)) -%}{%- endfor -%}
    {%- set types = "columns = {" ~ typed | join(', ') ~ "}" -%}
    {%- if kind == 'json' -%}
        {{ return("read_json(" ~ files ~ ", " ~ types ~ ", maximum_object_size = 67108864)") }}
    {%- endif -%}
    {{ return("read_csv(" ~ files ~ ", " ~ types ~ ", auto_detect = false, " ~ duckdb_csv_dialect(kind) ~ ")") }}
{% endmacro %}

{# The dialect of CSV or TSV files, as options of read_csv. #}
{% macro duckdb_csv_dialect(kind) %}
    {%- set delimiter = {'csv': ',', 'tsv': '\t'}[kind] -%}
    {{ return("header = true, delim = '" ~ delimiter ~ "', quote = '\"', escape = '\"', max_line_size = 67108864") }}
{% endmacro %}

{# Pairs of columns (name → type) and the files that have them. JSON files need not be opened: a key that a row lacks is null. Parquet
   files are read together, by column name; CSV files in groups with the same header. #}
{% macro duckdb_file_columns(kind, files) %}
    {%- if kind == 'json' -%}
        {%- set columns = {} -%}
        {%- for type, fields in file_fields().items() -%}
            {%- for key in fields.values() -%}
                {%- do columns.update({key: 'JSON' if type == 'document' else 'VARCHAR'}) -%}
            {%- endfor -%}
        {%- endfor -%}
        {{ return([(columns, files)]) }}
    {%- endif -%}
    {%- set groups = {} -%}
    {%- for some_files in ([files | join(', ')] if kind == 'parquet' else files) -%}
        {%- set reader = "read_parquet([" ~ some_files ~ "], union_by_name = true)" if kind == 'parquet' else
            "read_csv(" ~ some_files ~ ", all_varchar = true, ignore_errors = true, " ~ duckdb_csv_dialect(kind) ~ ")" -%}
        {%- set columns = {} -%}
        {%- for row in run_query("describe select * from " ~ reader).rows -%}
            {%- do columns.update({row[0]: row[1]}) -%}
        {%- endfor -%}
        {%- if 'startTime' not in columns or ('spend' not in columns and 'response_cost' not in columns) -%}
            {{ exceptions.raise_compiler_error(
                "LITELLM_SPEND_LOGS matches " ~ kind ~ " files that are not spend logs: they need the columns startTime and spend,"
                ~ " and have: " ~ columns | join(', ')
            ) }}
        {%- endif -%}
        {%- do groups.setdefault(columns | join('\n'), (columns, []))[1].append(some_files) -%}
    {%- endfor -%}
    {{ return(groups.values() | list) }}
{% endmacro %}

{# A select of the raw columns from `reader`, null where the files lack one. #}
{% macro duckdb_select_spend_logs(reader, columns) %}
    {%- set fields = file_fields() -%}
    {%- set selected = [] -%}
    {%- for name, key in fields['text'].items() -%}
        {%- do selected.append(('cast("' ~ key ~ '" as varchar)' if key in columns else 'cast(null as varchar)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['time'].items() -%}
        {%- do selected.append((duckdb_utc_timestamp('"' ~ key ~ '"', columns[key]) if key in columns else 'cast(null as timestamp)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['document'].items() -%}
        {%- set nested = columns.get(key, 'VARCHAR') not in ['VARCHAR', 'JSON'] -%}
        {%- set text = ('cast(to_json("' ~ key ~ '") as varchar)') if nested else ('cast("' ~ key ~ '" as varchar)') -%}
        {%- do selected.append((text if key in columns else 'cast(null as varchar)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {{ return('select ' ~ selected | join(', ') ~ ' from ' ~ reader) }}
{% endmacro %}

{# UTC without an offset, truncated to milliseconds like LiteLLM's timestamp(3). A number is seconds since the epoch. Text with an offset must be
   cast to timestamptz first, because DuckDB's cast to timestamp ignores the offset. #}
{% macro duckdb_utc_timestamp(column, type) %}
    {%- if type == 'TIMESTAMP WITH TIME ZONE' -%}
        {{ return("date_trunc('millisecond', " ~ column ~ " at time zone 'UTC')") }}
    {%- elif type.startswith('TIMESTAMP') -%}
        {{ return("date_trunc('millisecond', cast(" ~ column ~ " as timestamp))") }}
    {%- endif -%}
    {%- set text = "trim(cast(" ~ column ~ " as varchar))" -%}
    {{ return(
        "date_trunc('millisecond', case"
        ~ " when try_cast(" ~ text ~ " as double) between 0 and 100000000000"
        ~ " then make_timestamp(cast(round(try_cast(" ~ text ~ " as double) * 1000000) as bigint))"
        ~ " when regexp_matches(" ~ text ~ ", ':[0-9.]+ ?([zZ]|[+-][0-9]{2}(:?[0-9]{2})?)$')"
        ~ " then try_cast(" ~ text ~ " as timestamptz) at time zone 'UTC'"
        ~ " else try_cast(" ~ text ~ " as timestamp) end)"
    ) }}
{% endmacro %}

{# Text as a double; null if blank, NaN if it is not a number. #}
{% macro duckdb_number(column) -%}
    case
        when trim({{ column }}) <> '' then coalesce(try_cast({{ column }} as double), cast('NaN' as double))
    end
{%- endmacro %}

{# JSON as text. A JSON string that contains a document (a jsonb column exported as text) is unwrapped; what is not valid JSON
   is null. #}
{% macro duckdb_json_document(column) -%}
    case
        when not json_valid({{ column }}) then null
        when json_type({{ column }}) <> 'VARCHAR' then {{ column }}
        when json_valid(json_extract_string({{ column }}, '$')) then json_extract_string({{ column }}, '$')
    end
{%- endmacro %}
