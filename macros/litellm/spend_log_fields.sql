{# What a spend log is read for, wherever it comes from: column here → its key in LiteLLM's row or StandardLoggingPayload. #}
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

{# All keys of file_fields, in its order. #}
{% macro file_keys() %}
    {%- set keys = [] -%}
    {%- for fields in file_fields().values() -%}{%- do keys.extend(fields.values()) -%}{%- endfor -%}
    {{ return(keys) }}
{% endmacro %}

{# A name without what exports change in it: case, underscores, hyphens, blanks, quotes and a byte order mark. #}
{% macro plain_name(name) %}
    {{ return(modules.re.sub('[^a-z0-9]', '', name | lower)) }}
{% endmacro %}

{# Key in LiteLLM's spelling → the column's name in the file, for the columns of a CSV or Parquet file. LiteLLM's own spelling
   comes before another one. #}
{% macro file_names(columns) %}
    {%- set found = {} -%}
    {%- for key in file_keys() -%}
        {%- for column in columns if plain_name(column) == plain_name(key) and (column == key or key not in found) -%}
            {%- do found.update({key: column}) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found) }}
{% endmacro %}

{# Whether columns with these names can be spend logs. #}
{% macro is_spend_log_header(names) %}
    {{ return('startTime' in names and ('spend' in names or 'response_cost' in names)) }}
{% endmacro %}

{# The text of a JSON object with the keys of file_fields spelled as LiteLLM does (pairs of pattern and replacement for
   regexp_replace_all), and with each half of a surrogate pair that stands alone replaced by U+FFFD, since no JSON parser reads it.
   A key inside a text is not matched: its quotes are escaped there. #}
{% macro document_repairs() %}
    {%- set repairs = [
        ('^\\x{feff}', ''),
        ('\\\\u([dD][89abAB][0-9a-fA-F]{2})\\\\u([dD][c-fC-F][0-9a-fA-F]{2})', '\\\\u@\\1\\\\u@\\2'),
        ('\\\\u[dD][89a-fA-F][0-9a-fA-F]{2}', '\\\\ufffd'),
        ('\\\\u@', '\\\\u'),
    ] -%}
    {%- for key in file_keys() -%}
        {%- set spelled = modules.re.sub('_|(?<=[a-z])(?=[A-Z])', '[_-]?', key) -%}
        {%- do repairs.append(('"(?i:' ~ spelled ~ ')"(\\s*):', '"' ~ key ~ '"\\1:')) -%}
    {%- endfor -%}
    {{ return(repairs) }}
{% endmacro %}

{# Whether `exact`, a JSON document read with the keys as LiteLLM spells them, has what nearly every request has. #}
{% macro has_usual_fields() %}
    {{ return(
        "exact.startTime is not null and coalesce(exact.spend, exact.response_cost) is not null"
        ~ " and coalesce(exact.request_id, exact.id) is not null and exact.total_tokens is not null and exact.model <> ''"
    ) }}
{% endmacro %}

{# Texts that stand for no document. #}
{% macro no_document_texts() %}{{ return(['', 'null', 'NULL', 'None', 'nan', 'NaN', '\\N']) }}{% endmacro %}

{# Texts that stand for no number. #}
{% macro no_number_texts() %}{{ return(['', '\\N', 'null', 'NULL', 'None']) }}{% endmacro %}

{# Keys under which an API or an export wraps a list of rows: {"data": […]}. #}
{% macro wrapper_keys() %}
    {{ return(['data', 'logs', 'results', 'items', 'rows', 'records', 'spend_logs']) }}
{% endmacro %}

{# How a time may be written, as regular expressions that RE2 and Java read alike. A text that matches none of `local`, `local`
   with a zone after it, and `number` is no time: it is rejected, not guessed. #}
{% macro time_forms() %}
    {%- set local = '[0-9]{4}-[0-9]{2}-[0-9]{2}[T ]([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]+)?)?' -%}
    {{ return({
        'local': '^' ~ local ~ '$',
        'utc': '^' ~ local ~ ' ?(Z|z|UTC|GMT)$',
        'offset': '^' ~ local ~ ' ?[+-](0[0-9]|1[0-5])(:?[0-5][0-9])?$',
        'zone': '^' ~ local ~ ' ?[A-Za-z_]+(/[A-Za-z0-9_+-]+)+$',
        'number': '^[0-9]{1,20}([.][0-9]*)?([eE][+]?[0-9]{1,2})?$',
        'offset_part': '([+-])([0-9]{2}):?([0-9]{2})?$',
        'local_part': '^([0-9-]+[T ][0-9:.]+)',
        'zone_part': '([A-Za-z_]+/[A-Za-z0-9_+/-]+)$',
    }) }}
{% endmacro %}

{# Epoch seconds, milliseconds, microseconds or nanoseconds, told apart by their size, as whole microseconds. `number` is an exact
   decimal. #}
{% macro epoch_microseconds(number) -%}
    case
        when {{ number }} < 100000000000 then {{ number }} * 1000000
        when {{ number }} < 100000000000000 then {{ number }} * 1000
        when {{ number }} < 100000000000000000 then {{ number }}
        else {{ number }} / 1000
    end
{%- endmacro %}

{# Files by kind: lines (of JSON), documents (whole files of JSON), csv, tsv, parquet. It warns of files that are left out; `not_read` are
   extensions that this engine does not read. #}
{% macro spend_log_files_by_kind(files, path, not_read) %}
    {%- set kinds = {
        'jsonl': 'lines', 'ndjson': 'lines', 'json': 'documents', '': 'documents', 'csv': 'csv', 'tsv': 'tsv', 'parquet': 'parquet',
        'pq': 'parquet',
    } -%}
    {%- set files_of = {'lines': [], 'documents': [], 'csv': [], 'tsv': [], 'parquet': []} -%}
    {%- set others = [] -%}
    {%- set beside = [] -%}
    {%- for file in files -%}
        {%- set name = (file.split('/') | last) | lower -%}
        {%- set plain = modules.re.sub('[.](gz|zst)$', '', name) -%}
        {%- set extension = plain.split('.')[-1] if '.' in plain else '' -%}
        {%- set kind = kinds.get(extension) -%}
        {%- if 'batch_line_items' in file.split('/') or 'audit_logs' in file.split('/') -%}
            {%- do beside.append(file) -%}
        {#- LiteLLM's GCS logger names an object <day>/<response id>, without an extension. -#}
        {%- elif not kind or name[:1] in ['.', '_'] or extension in not_read or (kind == 'documents' and name != plain and not_read) -%}
            {%- do others.append(file) -%}
        {%- else -%}
            {%- do files_of[kind].append(file) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if beside -%}
        {%- do exceptions.warn(
            "LITELLM_SPEND_LOGS=" ~ path ~ " also matches " ~ beside | length ~ " file(s) of batch_line_items/ or audit_logs/ that are left"
            ~ " out, such as '" ~ beside[0] ~ "': they hold no spend logs"
        ) -%}
    {%- endif -%}
    {%- if others -%}
        {%- do exceptions.warn(
            "LITELLM_SPEND_LOGS=" ~ path ~ " also matches " ~ others | length ~ " file(s) that are left out, such as '" ~ others[0]
            ~ "': spend logs are read from .jsonl, .ndjson, .json, " ~ ('' if not_read else '.csv, .tsv, ')
            ~ ".parquet and from files without an extension"
        ) -%}
    {%- endif -%}
    {%- if not files -%}
        {%- do exceptions.warn(
            "No spend log file matches LITELLM_SPEND_LOGS=" ~ path ~ ": set it to a glob such as 'exports/*.parquet', or run"
            ~ " `loader sample`. Hours that were summed before stay."
        ) -%}
    {%- endif -%}
    {{ return(files_of) }}
{% endmacro %}

{# Warns that a file is set aside because it is no spend log, and what to look at. #}
{% macro warn_of_foreign_file(file, columns, kind) %}
    {%- set first = (columns | list + [''])[0] -%}
    {%- do exceptions.warn(
        "the file " ~ file ~ " is set aside: spend logs need the columns startTime and spend, and it "
        ~ ("has: " ~ (columns | join(', '))[:300] if columns else "is empty or not UTF-8")
        ~ (". To fix: separate its columns with " ~ ('commas' if kind == 'csv' else 'tabs')
           if columns | length == 1 and modules.re.search('[;,\t|]', first) else "")
    ) -%}
{% endmacro %}

{# Rows of read_problem and source_file for files that are set aside as a whole, from problem → quoted file names; nothing if there
   are none. It warns of damaged files. #}
{% macro files_set_aside(files_of_problem) %}
    {%- set meanings = {'not_parquet': 'no complete Parquet file', 'not_gzip': 'neither gzip nor Zstandard'} -%}
    {%- set rows = [] -%}
    {%- for problem, files in files_of_problem.items() -%}
        {%- for file in files -%}
            {%- do exceptions.warn(
                "the file " ~ file ~ " is set aside: it is " ~ meanings[problem] ~ ". To fix: write it again, or remove it, and run dbt again"
            ) if problem in meanings and loop.index <= 20 -%}
            {%- do rows.append("(" ~ sql_text(problem) ~ ", " ~ file ~ ")") -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return("(values " ~ rows | join(', ') ~ ") as set_aside (read_problem, source_file)" if rows else '') }}
{% endmacro %}
