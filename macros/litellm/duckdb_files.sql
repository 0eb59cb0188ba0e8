{# A list of selects that together read every file that `path`, a glob, matches: one for each kind of file and, for CSV and Parquet,
   for each schema. #}
{% macro duckdb_spend_log_files(path) %}
    {%- if not is_run() -%}
        {{ return([duckdb_select_documents(duckdb_lines([sql_text(path)]))]) }}
    {%- endif -%}
    {%- set files = run_query("select file from glob(" ~ sql_text(path) ~ ") order by file").columns[0].values() -%}
    {%- set files_of = {} -%}
    {%- for kind, same_files in spend_log_files_by_kind(files, path, []).items() -%}
        {%- set literals = [] -%}
        {%- for file in same_files -%}{%- do literals.append(sql_text(file)) -%}{%- endfor -%}
        {%- do files_of.update({kind: literals}) -%}
    {%- endfor -%}
    {%- set damaged = duckdb_damaged_files(files_of) -%}
    {%- set selects = [] -%}
    {%- if files_of.lines -%}
        {%- do selects.append(duckdb_select_documents(duckdb_lines(files_of.lines))) -%}
        {%- do selects.extend(duckdb_rows_set_aside('lines', files_of.lines, {})) -%}
    {%- endif -%}
    {%- if files_of.documents -%}
        {%- do selects.extend(duckdb_document_files(files_of.documents)) -%}
    {%- endif -%}
    {%- set csv_groups, foreign_csv_files = duckdb_csv_groups(files_of) -%}
    {%- for kind, columns, files in csv_groups -%}
        {%- set reader = "read_csv([" ~ files | join(', ') ~ "], " ~ duckdb_csv_options(kind, columns) ~ ")" -%}
        {%- do selects.append(duckdb_select_columns(reader, columns, kind)) -%}
        {%- do selects.extend(duckdb_rows_set_aside(kind, files, columns)) -%}
    {%- endfor -%}
    {%- set parquet_groups, foreign_parquet_files = duckdb_parquet_groups(files_of.parquet) -%}
    {%- for columns, files in parquet_groups -%}
        {%- do selects.append(duckdb_select_columns("read_parquet([" ~ files | join(', ') ~ "], filename = 'litellm_cbf_file')", columns, 'parquet')) -%}
    {%- endfor -%}
    {%- set set_aside = files_set_aside({
        'not_gzip': damaged.gzip, 'not_parquet': damaged.parquet, 'not_spend_logs': foreign_csv_files + foreign_parquet_files
    }) -%}
    {%- do selects.append(duckdb_select_fields({}, set_aside, 'source_file', 'read_problem')) if set_aside -%}
    {{ return(selects) }}
{% endmacro %}

{# Files that cannot be opened, taken out of `files_of`: Parquet files without a footer, and .gz or .zst files that hold something
   else. One of them would stop the query that reads all files of its kind. #}
{% macro duckdb_damaged_files(files_of) %}
    {%- set damaged = {'parquet': [], 'gzip': []} -%}
    {%- for file in files_of.parquet -%}
        {%- do damaged.parquet.append(file) if not adapter.location_exists(file[1:-1]) -%}
    {%- endfor -%}
    {%- set packed = [] -%}
    {%- for kind in ['lines', 'documents', 'csv', 'tsv'] -%}
        {%- for file in files_of[kind] -%}{%- do packed.append(file) if file.lower().endswith((".gz'", ".zst'")) -%}{%- endfor -%}
    {%- endfor -%}
    {%- if packed -%}
        {%- for file in run_query(
            "select filename from read_blob([" ~ packed | join(', ') ~ "]) where size <= 67108864 and content[1:2] <> '\\x1F\\x8B'::blob"
            ~ " and content[1:4] <> '\\x28\\xB5\\x2F\\xFD'::blob order by filename"
        ).columns[0].values() -%}
            {%- do damaged.gzip.append(sql_text(file)) -%}
        {%- endfor -%}
    {%- endif -%}
    {%- for kind, same_files in files_of.items() -%}
        {%- for file in damaged.parquet + damaged.gzip if file in same_files -%}{%- do same_files.remove(file) -%}{%- endfor -%}
    {%- endfor -%}
    {{ return(damaged) }}
{% endmacro %}

{# Lines as rows of one text. A line that is not UTF-8 is left out here, and counted by duckdb_rows_set_aside. #}
{% macro duckdb_lines(files) %}
    {{ return(
        "(select litellm_cbf_file as source_file, line as document, cast(null as varchar) as read_problem from read_csv([" ~ files | join(', ')
        ~ "], " ~ duckdb_csv_options('lines', {}) ~ ") where trim(line) <> '')"
    ) }}
{% endmacro %}

{# How a kind of file is written, as options of read_csv. The columns are given, not detected: DuckDB's sniffer would stop at a
   broken line of a CSV file. For lines of one text it finds nothing to stop at, and without it DuckDB takes a file for 42 rows, and so
   puts all requests into the hash table of a join. #}
{% macro duckdb_csv_options(kind, columns) %}
    {%- set common = "max_line_size = 67108864, buffer_size = 67108864, ignore_errors = true, filename = 'litellm_cbf_file', hive_partitioning = false" -%}
    {%- if kind == 'lines' -%}
        {{ return("columns = {'line': 'VARCHAR'}, delim = '\\x01', quote = '', escape = '', header = false, sample_size = 1, " ~ common) }}
    {%- endif -%}
    {%- set typed = [] -%}
    {%- for name in columns -%}{%- do typed.append(sql_text(name) ~ ": 'VARCHAR'") -%}{%- endfor -%}
    {{ return("columns = {" ~ typed | join(', ') ~ "}, " ~ duckdb_csv_dialect(kind) ~ ", auto_detect = false, " ~ common) }}
{% endmacro %}

{# COPY's text format (PostgreSQL, ClickHouse, MySQL) has no quotes: its escapes are undone by duckdb_copy_text. #}
{% macro duckdb_csv_dialect(kind) %}
    {%- if kind == 'copy_text' -%}
        {{ return("header = true, delim = '\t', quote = '', escape = ''") }}
    {%- endif -%}
    {{ return("header = true, delim = '" ~ {'csv': ',', 'tsv': '\t'}[kind] ~ "', quote = '\"', escape = '\"'") }}
{% endmacro %}

{# Lines that read_csv cannot read, as rows with a read_problem: they are looked for before the run, because a query cannot see
   them. Their text, which may be a prompt, is kept nowhere. #}
{% macro duckdb_rows_set_aside(kind, files, columns) %}
    {%- set table = 'litellm_cbf_' ~ kind ~ '_' ~ local_md5(files | join(','))[:8] -%}
    {%- do run_query("drop table if exists " ~ table) -%}
    {%- do run_query("drop table if exists " ~ table ~ "_scans") -%}
    {%- do run_query(
        "select count(*) from read_csv([" ~ files | join(', ') ~ "], " ~ duckdb_csv_options(kind, columns) ~ ", store_rejects = true,"
        ~ " rejects_table = '" ~ table ~ "', rejects_scan = '" ~ table ~ "_scans')"
    ) -%}
    {%- set found = run_query(
        "select distinct file_path, line, case when error_type = 'INVALID ENCODING' then 'not_utf8' else 'broken_csv_row' end as problem"
        ~ " from " ~ table ~ " inner join " ~ table ~ "_scans using (scan_id, file_id) order by file_path, line"
    ).rows -%}
    {%- do run_query("drop table " ~ table) -%}
    {%- do run_query("drop table " ~ table ~ "_scans") -%}
    {%- set selects = [] -%}
    {%- for file, line, problem in found -%}
        {%- do exceptions.warn(
            "the spend log file " ~ file ~ ", line " ~ line ~ " is " ~ ('not UTF-8' if problem == 'not_utf8' else 'not valid CSV')
            ~ ": it is set aside, see rejected_spend_logs. To fix: correct or remove it and run dbt again."
        ) if loop.index <= 20 -%}
        {%- do selects.append(duckdb_select_fields(
            {}, "(select " ~ sql_text(problem) ~ " as read_problem, " ~ sql_text(file) ~ " as source_file)", "source_file", "read_problem"
        )) -%}
    {%- endfor -%}
    {{ return(selects) }}
{% endmacro %}

{# Selects for files that are JSON as a whole: one object, a list of objects, a wrapped list, or lines after all. Files up to 64 MB,
   or 8 MB compressed, are read as one text, so that one broken file does not stop the others; larger ones are streamed. #}
{% macro duckdb_document_files(files) %}
    {%- set small = [] -%}
    {%- set packed = [] -%}
    {%- set large = [] -%}
    {%- for file, size in run_query("select filename, size from read_blob([" ~ files | join(', ') ~ "])").rows -%}
        {%- set is_packed = file.lower().endswith(('.gz', '.zst')) -%}
        {%- do (large if size > (8388608 if is_packed else 67108864) else packed if is_packed else small).append(sql_text(file)) -%}
    {%- endfor -%}
    {%- set selects = [] -%}
    {%- if packed -%}
        {%- do selects.append(duckdb_select_documents(duckdb_documents(
            "(select litellm_cbf_file as filename, string_agg(line, '\n' order by line_number) as text, cast(null as varchar) as read_problem"
            ~ " from (select *, row_number() over () as line_number from read_csv([" ~ packed | join(', ') ~ "], "
            ~ duckdb_csv_options('lines', {}) ~ ")) as numbered group by litellm_cbf_file)"
        ))) -%}
        {%- do selects.extend(duckdb_rows_set_aside('lines', packed, {})) -%}
    {%- endif -%}
    {%- set problem = "case when content[1:2] = '\\x1F\\x8B'::blob then 'gzip_without_suffix' when text is null then 'not_utf8' end" -%}
    {%- if small -%}
        {%- do selects.append(duckdb_select_documents(duckdb_documents(
            "(select filename, content, try(decode(content)) as text, " ~ problem ~ " as read_problem from read_blob([" ~ small | join(', ')
            ~ "]) where octet_length(content) > 0)"
        ))) -%}
    {%- endif -%}
    {%- if large -%}
        {%- do selects.append(duckdb_select_documents(duckdb_documents(
            "(select filename, cast(json as varchar) as text, cast(null as varchar) as read_problem from read_json_objects([" ~ large | join(', ')
            ~ "], maximum_object_size = 67108864, filename = true))"
        ))) -%}
    {%- endif -%}
    {{ return(selects) }}
{% endmacro %}

{# Texts of whole files as rows of one JSON object each. #}
{% macro duckdb_documents(files) %}
    {%- set wrapped = [] -%}
    {%- for key in wrapper_keys() -%}{%- do wrapped.append("'$." ~ key ~ "'") -%}{%- endfor -%}
    {%- set fixed = namespace(text='text') -%}
    {%- for pattern, replacement in document_repairs()[:4] -%}
        {%- set fixed.text = regexp_replace_all(fixed.text, pattern, replacement) -%}
    {%- endfor -%}
    {#- Every list is one of texts: in a list of JSON, DuckDB would cast a text that is none, and its error quotes the text, which may be
        a prompt. -#}
    {%- set list_of = "cast(try(from_json({}, '[\"JSON\"]')) as varchar[])" -%}
    {{ return(
        "(select filename as source_file, unnest(case when text is null then [null]"
        ~ " when json is null then list_filter(string_split(text, '\n'), lambda line: trim(line, ' \r\t') <> '')"
        ~ " when json_type(json) = 'ARRAY' then coalesce(" ~ list_of.format('json') ~ ", [])"
        ~ " when json_type(json) = 'OBJECT' and not json_exists(json, '$.startTime')"
        ~ " then coalesce(" ~ list_of.format("list_filter(json_extract(json, [" ~ wrapped | join(', ') ~ "]), lambda value: json_type(value) = 'ARRAY')[1]")
        ~ ", [text])"
        ~ " else [text] end) as document, read_problem from (select *, case when json_valid(text) then text end as json from"
        ~ " (select * replace (case when json_valid(text) then text else " ~ fixed.text ~ " end as text) from " ~ files ~ " as raw) as fixed) as files)"
    ) }}
{% endmacro %}

{# A select of the raw columns from rows of `document` (the text of a JSON object), source_file and read_problem. Most documents are
   read as they are; those that lack a column which nearly every request has are read again with their keys spelled as LiteLLM does. #}
{% macro duckdb_select_documents(documents) %}
    {%- set typed = [] -%}
    {%- for type, fields in file_fields().items() -%}
        {%- for key in fields.values() -%}
            {%- do typed.append('"' ~ key ~ '":"' ~ ('JSON' if type == 'document' else 'VARCHAR') ~ '"') -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set structure = sql_text('{' ~ typed | join(',') ~ '}') -%}
    {%- set is_complete = has_usual_fields() -%}
    {%- set rows = namespace(
        sql="(select *, case when not coalesce(" ~ is_complete ~ ", false) then document end as repaired from (select *, try(from_json(document, "
        ~ structure ~ ")) as exact from " ~ documents ~ " as documents) as parsed) as incomplete"
    ) -%}
    {#- A few replacements in each select: linters give up on deeper nesting. -#}
    {%- for repairs in document_repairs() | batch(7) -%}
        {%- set repaired = namespace(text='repaired') -%}
        {%- for pattern, replacement in repairs -%}
            {%- set repaired.text = regexp_replace_all(repaired.text, pattern, replacement) -%}
        {%- endfor -%}
        {%- set rows.sql = "(select * replace (" ~ repaired.text ~ " as repaired) from " ~ rows.sql ~ ") as repaired_" ~ loop.index -%}
    {%- endfor -%}
    {%- set reader = "(select source_file, document, unnest(request), case when read_problem is not null then read_problem"
        ~ " when request is null or ltrim(document, ' \t\ufeff') not like '{%' then 'not_json' end as read_problem"
        ~ " from (select *, case when repaired is null then exact else coalesce(try(from_json(repaired, " ~ structure
        ~ ")), exact) end as request from " ~ rows.sql ~ ") as chosen) as read" -%}
    {%- set types = {} -%}
    {%- for key in file_keys() -%}{%- do types.update({key: ('"' ~ key ~ '"', 'VARCHAR')}) -%}{%- endfor -%}
    {#- The payload of a batch names its models beside its metadata. -#}
    {%- do types.update({'model': ("coalesce(nullif(model, ''), try(json_extract_string(document, '$.hidden_params.batch_models[0]')))", 'VARCHAR')}) -%}
    {{ return(duckdb_select_fields(types, reader, 'source_file', 'read_problem')) }}
{% endmacro %}

{# A select of the raw columns from a file with columns: name → type. #}
{% macro duckdb_select_columns(reader, columns, kind) %}
    {%- set expressions = {} -%}
    {%- for key, name in file_names(columns).items() -%}
        {%- set type = columns[name] -%}
        {%- set quoted = '"' ~ name | replace('"', '""') ~ '"' -%}
        {%- do expressions.update({key: (duckdb_copy_text(quoted) if kind == 'copy_text' else quoted, type)}) -%}
    {%- endfor -%}
    {{ return(duckdb_select_fields(expressions, reader, 'litellm_cbf_file', 'cast(null as varchar)')) }}
{% endmacro %}

{# A select of the raw columns. `expressions` maps a key of file_fields → its SQL and type; the rest is null. #}
{% macro duckdb_select_fields(expressions, reader, source_file, read_problem) %}
    {%- set fields = file_fields() -%}
    {%- set selected = [source_file ~ ' as source_file', read_problem ~ ' as read_problem'] -%}
    {%- for name, key in fields['text'].items() -%}
        {%- do selected.append(('cast(' ~ expressions[key][0] ~ ' as varchar)' if key in expressions else 'cast(null as varchar)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['time'].items() -%}
        {%- do selected.append((duckdb_utc_timestamp(*expressions[key]) if key in expressions else 'cast(null as timestamp)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- set start, type = expressions.get('startTime', ('null', 'TIMESTAMP')) -%}
    {%- do selected.append(('cast(null as varchar)' if type.startswith('TIMESTAMP') else 'cast(' ~ start ~ ' as varchar)') ~ ' as start_text') -%}
    {%- for name, key in fields['document'].items() -%}
        {%- set column, type = expressions.get(key, ('null', 'VARCHAR')) -%}
        {%- do selected.append(('cast(' ~ column ~ ' as varchar)' if type in ['VARCHAR', 'JSON'] else 'cast(to_json(' ~ column ~ ') as varchar)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {{ return('select ' ~ selected | join(', ') ~ ' from ' ~ reader) }}
{% endmacro %}

{# Triples of kind, columns (name → type) and the CSV files that have them, one for each header; and the files that are no spend logs. #}
{% macro duckdb_csv_groups(files_of) %}
    {%- set groups = {} -%}
    {%- set foreign = [] -%}
    {%- for extension in ['csv', 'tsv'] -%}
        {%- for file in files_of[extension] -%}
            {%- set lines = run_query("select line from read_csv(" ~ file ~ ", " ~ duckdb_csv_options('lines', {}) ~ ") limit 200").columns[0].values() -%}
            {%- set kind = 'copy_text' if extension == 'tsv' and modules.re.search('(^|\t)\\\\N(\t|$)', lines | join('\n'), modules.re.M) else extension -%}
            {%- set columns = csv_header(lines[0] if lines else '', kind) -%}
            {%- if is_spend_log_header(file_names(columns)) -%}
                {%- do groups.setdefault(kind ~ '\n' ~ columns | join('\n'), (kind, columns, []))[2].append(file) -%}
            {%- else -%}
                {%- do warn_of_foreign_file(file, columns, kind) -%}
                {#- An empty file has nothing to lose; one that is not UTF-8 has no line either. -#}
                {%- do foreign.append(file) if lines or run_query("select size from read_blob(" ~ file ~ ")").rows[0][0] -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return((groups.values() | list, foreign)) }}
{% endmacro %}

{# The columns (name → type) that the first line of a CSV file names, each once. #}
{% macro csv_header(line, kind) %}
    {%- set columns = {} -%}
    {%- set taken = [] -%}
    {%- for part in (line or '').split(',' if kind == 'csv' else '\t') -%}
        {%- set name = part.strip().strip('"').strip() -%}
        {%- set name = name if name and name | lower not in taken else 'column_' ~ loop.index -%}
        {%- do taken.append(name | lower) -%}
        {%- do columns.update({name: 'VARCHAR'}) -%}
    {%- endfor -%}
    {{ return(columns if line else {}) }}
{% endmacro %}

{# Pairs of columns (name → type) and the Parquet files that have them, one for each set of types of the columns that are read; and the
   files that are no spend logs. #}
{% macro duckdb_parquet_groups(files) %}
    {%- set groups = {} -%}
    {%- set foreign = [] -%}
    {%- if files -%}
        {#- One look at all footers; then one file of each schema is described. -#}
        {%- for row in run_query(
            "select string_agg('''' || replace(file_name, '''', '''''') || '''', chr(10) order by file_name) as files from (select file_name,"
            ~ " string_agg(concat_ws(':', name, type, num_children, converted_type, logical_type, scale), ',') as schema"
            ~ " from parquet_schema([" ~ files | join(', ') ~ "]) group by file_name) as schemas group by schema order by files"
        ).rows -%}
            {%- set same_files = row[0].split('\n') -%}
            {%- set columns = {} -%}
            {%- for column in run_query("describe select * from read_parquet(" ~ same_files[0] ~ ")").rows -%}
                {%- do columns.update({column[0]: column[1]}) -%}
            {%- endfor -%}
            {%- set names = file_names(columns) -%}
            {%- if is_spend_log_header(names) -%}
                {%- set types = {} -%}
                {%- for name in names.values() -%}{%- do types.update({name: columns[name]}) -%}{%- endfor -%}
                {%- do groups.setdefault(types | string, (types, []))[1].extend(same_files) -%}
            {%- else -%}
                {%- for file in same_files[:3] -%}{%- do warn_of_foreign_file(file, columns, 'parquet') -%}{%- endfor -%}
                {%- do foreign.extend(same_files) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return((groups.values() | list, foreign)) }}
{% endmacro %}
