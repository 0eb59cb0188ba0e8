{# jsonb. A JSON text that holds a document, encoded once or several times, is taken out of its quotes; null where that is not JSON.
   The text is tested before it is cast: a cast of broken text would stop the whole run for the sake of one row. #}
{% macro postgres_json_document(column) -%}
    case
        when jsonb_typeof({{ column }}) = 'string'
            then (
                with recursive unwrapped (turn, document) as (
                    select 0, {{ column }}
                    union all
                    select
                        turn + 1,
                        case when {{ postgres_is_json("document #>> '{}'") }} then cast(document #>> '{}' as jsonb) end
                    from unwrapped
                    where turn < 5 and jsonb_typeof(document) = 'string'
                )

                select document from unwrapped
                order by turn desc
                limit 1
            )
        else {{ column }}
    end
{%- endmacro %}

{# Whether a jsonb column holds something that is not a document of this type, inside of a text or not. #}
{% macro postgres_is_unreadable(column, document, type) -%}
    {{ column }} is not null
    and coalesce(jsonb_typeof({{ document }}), 'none') not in ('{{ type }}', 'null')
    and not {{ is_one_of('btrim(' ~ column ~ " #>> '{}')", no_document_texts()) }}
{%- endmacro %}

{# A jsonb value where it is an object, also one inside of a text; else null. #}
{% macro postgres_json_object(value) -%}
    case jsonb_typeof({{ value }})
        when 'object' then {{ value }}
        when 'string'
            then (
                select case when jsonb_typeof(document) = 'object' then document end
                from (select {{ postgres_json_document(value) }} as document) as unwrapped
            )
    end
{%- endmacro %}

{# Whether PostgreSQL can cast a text to jsonb, up to 12 levels deep (pg_input_is_valid needs PostgreSQL 16). Texts, numbers and
   words become one character each, then lists and objects of such characters become one, until one is left. #}
{% macro postgres_is_json(text) %}
    {%- set backslash = '\\\\' -%}
    {%- set escape = backslash ~ '(["' ~ backslash ~ '/bfnrt]|u(?!0000|[dD][89a-fA-F])[0-9a-fA-F]{4}|u[dD][89abAB][0-9a-fA-F]{2}' ~ backslash
        ~ 'u[dD][c-fC-F][0-9a-fA-F]{2})' -%}
    {%- set steps = [
        ('"([^"' ~ backslash ~ '\\u0001-\\u001f]|' ~ escape ~ ')*"', 'chr(1)'),
        ('-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]{1,3})?|true|false|null', 'chr(2)'),
        ('[ \\t\\n\\r]', "''"),
    ] -%}
    {%- set value = '[\\u0001\\u0002]' -%}
    {%- set list = '\\[(' ~ value ~ '(,' ~ value ~ ')*)?\\]' -%}
    {%- set object = '[{](\\u0001:' ~ value ~ '(,\\u0001:' ~ value ~ ')*)?[}]' -%}
    {%- set reduced = namespace(sql=text) -%}
    {%- for pattern, character in steps + [(list ~ '|' ~ object, 'chr(2)')] * 12 -%}
        {%- set reduced.sql = "regexp_replace(" ~ reduced.sql ~ ", '" ~ pattern ~ "', " ~ character ~ ", 'g')" -%}
    {%- endfor -%}
    {{ return("(" ~ text ~ " !~ '" ~ value ~ "' and " ~ reduced.sql ~ " in (chr(1), chr(2)))") }}
{% endmacro %}
