{# A list of selects that together read every file that `path`, a glob, matches: one for each kind of file and, where a
   folder mixes kinds, for each folder; for Parquet one for each schema. #}
{% macro spark_spend_log_files(path) %}
    {%- if not is_run() -%}
        {{ return([spark_select_documents([spark_documents('lines', '`' ~ path | replace('`', '``') ~ '`')])]) }}
    {%- endif -%}
    {%- set files = spark_list_files(path) -%}
    {%- set files_of = spend_log_files_by_kind(files, path, ['csv', 'tsv', 'json.gz']) -%}
    {%- set documents = [] -%}
    {%- for kind in ['lines', 'documents'] -%}
        {%- for place in spark_places(files_of[kind], files, path) -%}
            {%- do documents.append(spark_documents(kind, place)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set selects = [spark_select_documents(documents)] if documents else [] -%}
    {%- set damaged = spark_damaged_parquet_files(files_of.parquet) -%}
    {%- set parquet_groups, foreign = spark_parquet_groups(files_of.parquet | reject('in', damaged) | list) -%}
    {%- for types, same_files in parquet_groups -%}
        {%- for place in spark_places(same_files, files, path) -%}
            {%- do selects.append(spark_select_columns(types, place)) -%}
        {%- endfor -%}
    {%- endfor -%}
    {%- set quoted = {'not_parquet': [], 'not_spend_logs': []} -%}
    {%- for problem, same_files in [('not_parquet', damaged), ('not_spend_logs', foreign)] -%}
        {%- for file in same_files -%}{%- do quoted[problem].append(sql_text(file)) -%}{%- endfor -%}
    {%- endfor -%}
    {%- set set_aside = files_set_aside(quoted) -%}
    {%- do selects.append(spark_select_fields({}, set_aside, 'source_file', 'read_problem')) if set_aside -%}
    {{ return(selects) }}
{% endmacro %}

{# Quoted globs that match these files and no others of `all_files`, which `path` matches. #}
{% macro spark_places(files, all_files, path) %}
    {%- set places = [] -%}
    {%- for place in ([path] if files | length == all_files | length else spark_globs(files)) if files -%}
        {%- do places.append('`' ~ place | replace('`', '``') ~ '`') -%}
    {%- endfor -%}
    {{ return(places) }}
{% endmacro %}

{# Parquet files of up to 1 MB that do not begin and end as Parquet files do. One of them would stop the query that reads all; a
   larger one does, since only its whole content would show it. #}
{% macro spark_damaged_parquet_files(files) %}
    {%- set damaged = [] -%}
    {%- for place in spark_globs(files) if files -%}
        {%- do damaged.extend(run_query(
            "select path from binaryFile.`" ~ place | replace('`', '``') ~ "` where length <= 1048576 and (length < 12 or hex(substring(content, 1, 4))"
            ~ " <> '50415231' or hex(substring(content, -4)) <> '50415231')"
        ).columns[0].values()) -%}
    {%- endfor -%}
    {{ return(damaged) }}
{% endmacro %}

{# Pairs of types (column → type) and the Parquet files that have them, by the columns that are read; and the files that are no spend
   logs. Each file is described, as Spark would take the schema of one file for all. #}
{% macro spark_parquet_groups(files) %}
    {%- set groups = {} -%}
    {%- set foreign = [] -%}
    {%- for file in files -%}
        {%- set columns = {} -%}
        {%- for row in run_query("describe query select * from parquet.`" ~ (spark_globs([file])[0] | replace('`', '``')) ~ "`").rows -%}
            {%- do columns.update({row[0]: row[1]}) -%}
        {%- endfor -%}
        {%- set names = file_names(columns) -%}
        {%- if is_spend_log_header(names) -%}
            {%- set types = {} -%}
            {%- for key, name in names.items() -%}{%- do types.update({key: (name, columns[name])}) -%}{%- endfor -%}
            {%- do groups.setdefault(types | string, (types, []))[1].append(file) -%}
        {%- else -%}
            {%- do warn_of_foreign_file("'" ~ file ~ "'", columns, 'parquet') -%}
            {%- do foreign.append(file) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return((groups.values() | list, foreign)) }}
{% endmacro %}

{# Every file that a glob matches. Spark refuses a glob without a match, so the folder before the first wildcard is
   listed, and the glob applied here. Contents are not read. #}
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
        {%- do files.append(file) if modules.re.search('(^|/)' ~ pattern.text ~ '\\Z', file) -%}
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

{# Rows of `document` (the text of a JSON object), source_file and read_problem, from lines or from whole files: one object, a list
   of objects, a wrapped list, or lines after all. #}
{% macro spark_documents(kind, files) %}
    {%- if kind == 'lines' -%}
        {{ return(
            "select value as document, _metadata.file_path as source_file, case when not is_valid_utf8(value) then 'not_utf8' end"
            ~ " as read_problem from text." ~ files ~ " where trim(value) <> ''"
        ) }}
    {%- endif -%}
    {%- set wrapped = [] -%}
    {%- for key in wrapper_keys() -%}
        {%- do wrapped.append("case when get_json_object(content, '$." ~ key ~ "') like '[%' then get_json_object(content, '$." ~ key ~ "') end") -%}
    {%- endfor -%}
    {{ return(
        "select explode(case when read_problem is not null then array(content)"
        ~ " when ltrim(content) like '[%' then coalesce(from_json(content, 'array<string>'), array(content))"
        ~ " when not (" ~ spark_is_json('content') ~ ") then filter(split(content, '\\n'), line -> trim(line) <> '')"
        ~ " when get_json_object(content, '$.startTime') is null"
        ~ " then coalesce(from_json(coalesce(" ~ wrapped | join(', ') ~ "), 'array<string>'), array(content))"
        ~ " else array(content) end) as document, source_file, read_problem from (select path as source_file, cast(content as string)"
        ~ " as content, case when hex(substring(content, 1, 2)) = '1F8B' then 'gzip_without_suffix'"
        ~ " when not is_valid_utf8(cast(content as string)) then 'not_utf8' end as read_problem from binaryFile." ~ files
        ~ " where length > 0) as files"
    ) }}
{% endmacro %}

{# Whether a text is one JSON value: Spark itself would take what it can of a broken one, and pass over what follows the first. #}
{% macro spark_is_json(text) -%}
    coalesce(size(from_json(concat('[', {{ text }}, ']'), 'array<string>')) = 1, false)
{%- endmacro %}

{# A select of the raw columns from selects of JSON documents. They are read in one place, because a metastore on Derby takes no view of
   more than 32,700 characters. Most documents are read as they are; those that lack a column which nearly every request
   has are read again with their keys spelled as LiteLLM does. #}
{% macro spark_select_documents(documents) %}
    {%- set schema = sql_text('`' ~ file_keys() | join('` string, `') ~ '` string') -%}
    {%- set repaired = namespace(text='document') -%}
    {%- for pattern, replacement in document_repairs() -%}
        {%- set repaired.text = regexp_replace_all(repaired.text, pattern, modules.re.sub('[\\\\]([0-9])', '$\\1', replacement)) -%}
    {%- endfor -%}
    {%- set is_complete = "is_json and " ~ has_usual_fields() -%}
    {%- set parsed = "(select *, from_json(document, " ~ schema ~ ") as exact, " ~ spark_is_json('document') ~ " as is_json from ("
        ~ documents | join(' union all ') ~ ") as documents) as parsed" -%}
    {%- set chosen = "(select *, case when " ~ is_complete ~ " or read_problem is not null then document else " ~ repaired.text
        ~ " end as repaired, " ~ is_complete ~ " as is_complete from " ~ parsed ~ ") as chosen" -%}
    {%- set checked = "(select source_file, document, case when is_complete then exact else from_json(repaired, " ~ schema ~ ") end as request,"
        ~ " case when read_problem is not null then read_problem when not coalesce(is_complete, false) and not (" ~ spark_is_json('repaired')
        ~ " and ltrim(repaired) like '{%') then 'not_json' end as read_problem from " ~ chosen ~ ") as checked" -%}
    {%- set reader = "(select source_file, document, read_problem, case when read_problem is null then request end as request from "
        ~ checked ~ ") as requests" -%}
    {%- set types = {} -%}
    {%- for key in file_keys() -%}{%- do types.update({key: ('request.`' ~ key ~ '`', 'string')}) -%}{%- endfor -%}
    {#- The payload of a batch names its models beside its metadata. -#}
    {%- do types.update({'model': (
        "coalesce(nullif(request.model, ''), case when read_problem is null then get_json_object(document, '$.hidden_params.batch_models[0]') end)",
        'string'
    )}) -%}
    {{ return(spark_select_fields(types, reader, 'source_file', 'read_problem')) }}
{% endmacro %}

{# A select of the raw columns from Parquet files. `types` maps a key of file_fields → the column's name and type. #}
{% macro spark_select_columns(types, files) %}
    {%- set expressions = {} -%}
    {%- for key, column in types.items() -%}{%- do expressions.update({key: ('`' ~ column[0] ~ '`', column[1])}) -%}{%- endfor -%}
    {{ return(spark_select_fields(expressions, 'parquet.' ~ files, '_metadata.file_path', 'cast(null as string)')) }}
{% endmacro %}

{# A select of the raw columns. `expressions` maps a key of file_fields → its SQL and type; the rest is null. #}
{% macro spark_select_fields(expressions, reader, source_file, read_problem) %}
    {%- set fields = file_fields() -%}
    {%- set selected = [source_file ~ ' as source_file', read_problem ~ ' as read_problem'] -%}
    {%- for name, key in fields['text'].items() -%}
        {%- do selected.append(('cast(' ~ expressions[key][0] ~ ' as string)' if key in expressions else 'cast(null as string)') ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {%- for name, key in fields['time'].items() -%}
        {%- set column, type = expressions.get(key, ('null', 'string')) -%}
        {%- set is_typed = type.startswith('timestamp') -%}
        {%- do selected.append('cast(' ~ (column if is_typed else 'null') ~ ' as timestamp) as ' ~ name) -%}
        {%- do selected.append('cast(' ~ ('null' if is_typed else column) ~ ' as string) as ' ~ name ~ '_text') -%}
    {%- endfor -%}
    {%- for name, key in fields['document'].items() -%}
        {%- set column, type = expressions.get(key, ('cast(null as string)', 'string')) -%}
        {%- do selected.append((column if type == 'string' else spark_nested_document(column)) ~ ' as ' ~ name) -%}
    {%- endfor -%}
    {{ return('select ' ~ selected | join(', ') ~ ' from ' ~ reader) }}
{% endmacro %}

{# A nested column as JSON text. DuckDB writes values of different types in it as strings of JSON, which Spark cannot distinguish from other
   strings: the quotes would end up in tags and ids. So they stop the run. #}
{% macro spark_nested_document(column) -%}
    {{ return(
        "case when instr(to_json(" ~ column ~ "), " ~ sql_text(':"\\"') ~ ") > 0 then raise_error('The column metadata of a Parquet"
        ~ " file holds JSON as texts inside of a nested value.') else to_json(" ~ column ~ ") end"
    ) }}
{%- endmacro %}

{# The time in `text`, a name of SQL, as UTC; null where the text is not a time as a whole. #}
{% macro spark_utc_timestamp() %}
    {%- set forms = time_forms() -%}
    {%- set text = "text" -%}
    {%- set local = "try_cast(regexp_extract(" ~ text ~ ", '" ~ forms.local_part ~ "', 1) as timestamp)" -%}
    {%- set number = epoch_microseconds("try_cast(" ~ text ~ " as decimal(38, 9))") -%}
    {%- set zone = "regexp_extract(" ~ text ~ ", '" ~ forms.zone_part ~ "', 1)" -%}
    {%- set moment = "try_cast(concat(regexp_extract(" ~ text ~ ", '" ~ forms.local_part ~ "', 1), ' ', " ~ zone ~ ") as timestamp)" -%}
    {%- set offset = "regexp_extract(" ~ text ~ ", '" ~ forms.offset_part ~ "', " -%}
    {{ return(
        "case when " ~ text ~ " rlike '" ~ forms.local ~ "' then try_cast(" ~ text ~ " as timestamp)"
        ~ " when " ~ text ~ " rlike '" ~ forms.number ~ "' then timestamp_micros(cast(round(" ~ number ~ ") as bigint))"
        ~ " when " ~ text ~ " rlike '" ~ forms.utc ~ "' then " ~ local
        ~ " when " ~ text ~ " rlike '" ~ forms.offset ~ "' then " ~ local ~ " - make_dt_interval(0, 0, case when " ~ offset ~ "1) = '-' then -1"
        ~ " else 1 end * (try_cast(" ~ offset ~ "2) as int) * 60 + coalesce(try_cast(" ~ offset ~ "3) as int), 0)), 0)"
        ~ " when " ~ text ~ " rlike '" ~ forms.zone ~ "' then case when " ~ moment ~ " is not null then case when from_utc_timestamp("
        ~ moment ~ ", " ~ zone ~ ") = " ~ local ~ " then " ~ moment ~ " end end end"
    ) }}
{% endmacro %}

{# Text as a double: null where it is blank or stands for no value, NaN where it is no number. Java would take 1d and 0x1p3 for
   numbers as well. #}
{% macro spark_number(column) -%}
    case
        when trim({{ column }}) rlike '^[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?$' then cast(trim({{ column }}) as double)
        when not {{ is_one_of('trim(' ~ column ~ ')', no_number_texts()) }} then cast('NaN' as double)
    end
{%- endmacro %}

{# JSON text. A JSON text that holds a document, encoded once or several times, is taken out of its quotes. #}
{% macro spark_json_document(column) -%}
    aggregate(
        sequence(1, 5), trim({{ column }}), (text, turn) -> case when text like '"%' then trim(get_json_object(text, '$')) else text end
    )
{%- endmacro %}

{# OBJECT, ARRAY, VOID (JSON's null), …; null where the text is not JSON. Half of a surrogate pair is not JSON on the other engines. #}
{% macro spark_json_type(text) -%}
    case
        when not {{ text }} rlike {{ sql_text('\\\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\\\u[dD][c-fC-F])|(?<!\\\\u[dD][89abAB][0-9a-fA-F]{2})\\\\u[dD][c-fC-F]') }}
            then regexp_extract(schema_of_variant(try_parse_json({{ text }})), '^[A-Z]+', 0)
    end
{%- endmacro %}
