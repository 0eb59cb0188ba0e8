{# The text, number or boolean under a top-level key of a JSON object stored as text; null for an object, a list or a blank.
   Control characters, and blanks around it, are removed. #}
{% macro json_text(column, key) -%}
    {{ return(adapter.dispatch('json_text', 'litellm_cbf')(column, key)) }}
{%- endmacro %}

{% macro duckdb__json_text(column, key) %}
    {%- set path = "'$.\"" ~ key ~ "\"'" -%}
    {{ return(
        "case when json_type(" ~ column ~ ", " ~ path ~ ") not in ('OBJECT', 'ARRAY', 'NULL')"
        ~ " then " ~ clean_text("json_extract_string(" ~ column ~ ", " ~ path ~ ")") ~ " end"
    ) }}
{% endmacro %}

{% macro postgres__json_text(column, key) %}
    {{ return(
        "case when jsonb_typeof(cast(" ~ column ~ " as jsonb) -> '" ~ key ~ "') not in ('object', 'array', 'null')"
        ~ " then " ~ clean_text("(cast(" ~ column ~ " as jsonb) ->> '" ~ key ~ "')") ~ " end"
    ) }}
{% endmacro %}

{# The variant type distinguishes an object from a string that looks like one; a path into text does not. #}
{% macro spark__json_text(column, key) %}
    {%- set value = "variant_get(try_parse_json(" ~ column ~ "), '$[\"" ~ key ~ "\"]')" -%}
    {{ return(
        "case when not schema_of_variant(" ~ value ~ ") rlike '^(OBJECT|ARRAY|VOID)'"
        ~ " then " ~ clean_text("cast(" ~ value ~ " as string)") ~ " end"
    ) }}
{% endmacro %}


{# The values that request_tags give to a key, written as `key:value` or `key=value`: sorted by bytes and joined by commas; 'true'
   for the bare tag `key`; null if there are none. LiteLLM writes a header as `key: value`, so blanks around tags and values are removed,
   and control characters. The list is never unnested into rows of the request: that would count the
   request once per tag. #}
{% macro request_tag_value(column, key) -%}
    {{ return(adapter.dispatch('request_tag_value', 'litellm_cbf')(column, key)) }}
{%- endmacro %}

{% macro duckdb__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {%- set tags = "list_transform(cast(json_extract_string(" ~ column ~ ", '$[*]') as varchar[]), lambda tag: trim(tag))" -%}
    {%- set matching = "list_filter(" ~ tags ~ ", lambda tag: tag = '" ~ key ~ "' or starts_with(tag, '" ~ key
        ~ ":') or starts_with(tag, '" ~ key ~ "='))" -%}
    {%- set values = "list_transform(" ~ matching ~ ", lambda tag: case when tag = '" ~ key ~ "' then 'true' else "
        ~ clean_text("substring(tag, " ~ (length + 2) ~ ")") ~ " end)" -%}
    {%- set present = "list_filter(" ~ values ~ ", lambda value: value is not null)" -%}
    {{ return("nullif(array_to_string(list_sort(list_distinct(" ~ present ~ ")), ','), '')") }}
{% endmacro %}

{% macro postgres__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {%- set value = "substring(trim(tag), " ~ (length + 2) ~ ")" -%}
    {{ return(
        "(select string_agg(distinct tag_value, ',' order by tag_value) from (select case when trim(tag) = '" ~ key
        ~ "' then 'true' else " ~ clean_text(value) ~ " end collate \"C\" as tag_value"
        ~ " from jsonb_array_elements_text(cast(" ~ column ~ " as jsonb)) as tags(tag)"
        ~ " where trim(tag) = '" ~ key ~ "' or starts_with(trim(tag), '" ~ key ~ ":') or starts_with(trim(tag), '" ~ key ~ "=')"
        ~ ") as tag_values where tag_value is not null)"
    ) }}
{% endmacro %}

{% macro spark__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {%- set tags = "transform(from_json(" ~ column ~ ", 'array<string>'), tag -> trim(tag))" -%}
    {%- set matching = "filter(" ~ tags ~ ", tag -> tag = '" ~ key ~ "' or startswith(tag, '" ~ key
        ~ ":') or startswith(tag, '" ~ key ~ "='))" -%}
    {%- set values = "transform(" ~ matching ~ ", tag -> case when tag = '" ~ key ~ "' then 'true' else "
        ~ clean_text("substring(tag, " ~ (length + 2) ~ ")") ~ " end)" -%}
    {%- set present = "filter(" ~ values ~ ", value -> value is not null)" -%}
    {{ return("nullif(array_join(array_sort(array_distinct(" ~ present ~ ")), ','), '')") }}
{% endmacro %}
