{# The text under one top-level key of a JSON object in a text column; null for an object, a list or a blank. #}
{% macro json_text(column, key) -%}
    {{ return(adapter.dispatch('json_text', 'litellm_cbf')(column, key)) }}
{%- endmacro %}

{% macro default__json_text(column, key) %}{{ unsupported_adapter('json_text') }}{% endmacro %}

{% macro duckdb__json_text(column, key) %}
    {%- set path = "'$.\"" ~ key ~ "\"'" -%}
    {{ return(
        "case when json_type(" ~ column ~ ", " ~ path ~ ") not in ('OBJECT', 'ARRAY', 'NULL')"
        ~ " then nullif(trim(json_extract_string(" ~ column ~ ", " ~ path ~ ")), '') end"
    ) }}
{% endmacro %}

{% macro postgres__json_text(column, key) %}
    {{ return(
        "case when jsonb_typeof(cast(" ~ column ~ " as jsonb) -> '" ~ key ~ "') not in ('object', 'array', 'null')"
        ~ " then nullif(trim(cast(" ~ column ~ " as jsonb) ->> '" ~ key ~ "'), '') end"
    ) }}
{% endmacro %}


{# What request_tags say of one key: the values of `key:value` and `key=value`, sorted by bytes and joined by a
   comma; 'true' for the bare tag `key`; null for none. The list is never unnested into rows: that would count
   a request once for each of its tags. #}
{% macro request_tag_value(column, key) -%}
    {{ return(adapter.dispatch('request_tag_value', 'litellm_cbf')(column, key)) }}
{%- endmacro %}

{% macro default__request_tag_value(column, key) %}{{ unsupported_adapter('request_tag_value') }}{% endmacro %}

{% macro duckdb__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {%- set tags = "cast(json_extract_string(" ~ column ~ ", '$[*]') as varchar[])" -%}
    {%- set matching = "list_filter(" ~ tags ~ ", lambda tag: tag = '" ~ key ~ "' or starts_with(tag, '" ~ key
        ~ ":') or starts_with(tag, '" ~ key ~ "='))" -%}
    {%- set values = "list_transform(" ~ matching ~ ", lambda tag: case when tag = '" ~ key ~ "' then 'true' else substring(tag, "
        ~ (length + 2) ~ ") end)" -%}
    {%- set present = "list_filter(" ~ values ~ ", lambda value: trim(value) <> '')" -%}
    {{ return("nullif(array_to_string(list_sort(list_distinct(" ~ present ~ ")), ','), '')") }}
{% endmacro %}

{% macro postgres__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {{ return(
        "(select string_agg(distinct tag_value, ',' order by tag_value) from (select case when tag = '" ~ key
        ~ "' then 'true' else substring(tag, " ~ (length + 2) ~ ") end collate \"C\" as tag_value"
        ~ " from jsonb_array_elements_text(cast(" ~ column ~ " as jsonb)) as tags(tag)"
        ~ " where tag = '" ~ key ~ "' or starts_with(tag, '" ~ key ~ ":') or starts_with(tag, '" ~ key ~ "=')"
        ~ ") as tag_values where trim(tag_value) <> '')"
    ) }}
{% endmacro %}

{# The variant type tells an object from a text that looks like one; a path into text does not. #}
{% macro spark__json_text(column, key) %}
    {%- set value = "variant_get(try_parse_json(" ~ column ~ "), '$[\"" ~ key ~ "\"]')" -%}
    {{ return(
        "case when not schema_of_variant(" ~ value ~ ") rlike '^(OBJECT|ARRAY|VOID)'"
        ~ " then nullif(trim(cast(" ~ value ~ " as string)), '') end"
    ) }}
{% endmacro %}

{% macro spark__request_tag_value(column, key) %}
    {%- set length = key | length -%}
    {%- set tags = "from_json(" ~ column ~ ", 'array<string>')" -%}
    {%- set matching = "filter(" ~ tags ~ ", tag -> tag = '" ~ key ~ "' or startswith(tag, '" ~ key
        ~ ":') or startswith(tag, '" ~ key ~ "='))" -%}
    {%- set values = "transform(" ~ matching ~ ", tag -> case when tag = '" ~ key ~ "' then 'true' else substring(tag, "
        ~ (length + 2) ~ ") end)" -%}
    {%- set present = "filter(" ~ values ~ ", value -> trim(value) <> '')" -%}
    {{ return("nullif(array_join(array_sort(array_distinct(" ~ present ~ ")), ','), '')") }}
{% endmacro %}
