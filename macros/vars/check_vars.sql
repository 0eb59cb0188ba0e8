{# Stops a command of dbt if a var is misspelled or its value is not valid, or if the schema or database of the target cannot be used in SQL. As a hook
   it is rendered when dbt parses the project, before the first query, and again before each run. #}
{% macro check_vars() %}
    {%- do check_var_names() -%}
    {%- for name in project_vars() -%}{%- do project_var(name) -%}{%- endfor -%}
    {%- do line_dimensions() -%}
    {%- do line_streams() -%}
    {%- do check_name('the schema of target ' ~ target.name ~ ' (DBT_SCHEMA)', target.schema) -%}
    {%- if modules.re.search('[\'"\\\\\\x00-\\x1f]', target.get('database', '') | string) -%}
        {{ exceptions.raise_compiler_error(
            "the database of target " ~ target.name ~ " (PGDATABASE, LOADER_DUCKDB_PATH) is not a valid name: " ~ target.database | tojson
            ~ ". It must not contain quotes, backslashes or control characters."
        ) }}
    {%- endif -%}
{% endmacro %}

{# Stops if `value` is not one that a var of this `form` may have. The names of dimensions, streams and providers are checked where they
   are resolved. #}
{% macro check_var(name, value, form) %}
    {%- if form == 'name' -%}
        {%- do check_name('var ' ~ name, value) -%}
    {%- elif form == 'boolean' and value is not boolean -%}
        {%- do raise_invalid_var(name, value, 'true or false, without quotes') -%}
    {%- elif form.startswith('`') and (value is not string or '`' ~ value ~ '`' not in form.split(', ')) -%}
        {%- do raise_invalid_var(name, value, 'one of ' ~ form | replace('`', '')) -%}
    {%- elif form.startswith('hours') and not is_whole_number(value, 87600) -%}
        {%- do raise_invalid_var(name, value, 'a whole number of hours, at least 1 and at most 87600') -%}
    {%- elif form == 'UTC hour' and value is not none and not modules.re.fullmatch(
        '[0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|[12][0-9]))( ([01][0-9]|2[0-3]):00(:00)?)?',
        value | string
    ) -%}
        {%- do raise_invalid_var(name, value, "a whole UTC hour, such as '2026-02-01' or '2026-02-01 12:00'") -%}
    {%- elif form == 'mapping' and value is not none and value is not mapping -%}
        {%- do raise_invalid_var(name, value, 'null or a mapping with `by` and `names`') -%}
    {%- elif form.startswith('list') -%}
        {%- do check_list(name, value, form) -%}
    {%- endif -%}
{% endmacro %}

{# Stops if the value of a list var is not a list of texts. #}
{% macro check_list(name, value, form) %}
    {%- set examples = {
        'list of dimensions': "[user, api_key, 'tag:env']", 'list of providers': '[openai, bedrock]', 'list of settings': '[litellm_schema]',
    } -%}
    {%- if value is string or value is mapping or value is not iterable -%}
        {%- do raise_invalid_var(name, value, 'a ' ~ form ~ ', such as ' ~ examples[form]) -%}
    {%- endif -%}
    {%- for each in value -%}
        {%- if each is not string -%}
            {{ exceptions.raise_compiler_error(
                "var " ~ name ~ ": " ~ each ~ " is not text, because YAML reads unquoted values such as no or 0123 as something else."
                ~ " To fix: quote it, as in ['no']."
            ) }}
        {%- endif -%}
        {%- if not each | trim -%}
            {%- do raise_invalid_var(name, "'" ~ each ~ "'", 'a ' ~ form ~ ', such as ' ~ examples[form]) -%}
        {%- elif form == 'list of settings' and each not in remembered_settings() -%}
            {%- do raise_invalid_var(name, "'" ~ each ~ "'", 'a ' ~ form ~ ': ' ~ remembered_settings() | join(', ')) -%}
        {%- endif -%}
    {%- endfor -%}
{% endmacro %}

{# Stops if a name cannot stand in SQL as it is: dbt's own queries of the catalog do not escape it. #}
{% macro check_name(what, value) %}
    {%- if value is not string -%}
        {{ exceptions.raise_compiler_error(
            what ~ " is not valid: " ~ value ~ " is not text, because YAML reads unquoted values such as 0123 or no as something else."
            ~ " To fix: quote it."
        ) }}
    {%- endif -%}
    {%- if not modules.re.fullmatch(name_pattern(), value) -%}
        {{ exceptions.raise_compiler_error(
            what ~ " is not a valid name: " ~ value | tojson ~ ". It must consist of letters, digits and _ $ -, and be at most 63 characters long."
        ) }}
    {%- endif -%}
{% endmacro %}

{# The regular expression of a name that check_name allows. _litellm__sources.yml, which cannot call a macro, repeats it. #}
{% macro name_pattern() %}{{ return('[\\w$-]{1,63}') }}{% endmacro %}

{# Whether a value is a whole number from 1 to `maximum`, also as a text of digits. True, which counts as 1, is none. #}
{% macro is_whole_number(value, maximum) %}
    {%- set is_number = value is integer and value is not boolean or (value is string and modules.re.fullmatch('[0-9]{1,9}', value) is not none) -%}
    {{ return(is_number and 1 <= value | int <= maximum) }}
{% endmacro %}

{# The error for a value that a var cannot have. #}
{% macro raise_invalid_var(name, value, expected) %}
    {{ exceptions.raise_compiler_error("var " ~ name ~ " is not valid: " ~ value ~ ". It must be " ~ expected ~ ".") }}
{% endmacro %}
