{# The value that is not null and has the greatest `ordered_by`; of several, the greatest by bytes. #}
{% macro latest_value(column, ordered_by) -%}
    {{ return(adapter.dispatch('latest_value', 'litellm_cbf')(column, ordered_by)) }}
{%- endmacro %}

{% macro default__latest_value(column, ordered_by) %}{{ unsupported_adapter('latest_value') }}{% endmacro %}

{% macro duckdb__latest_value(column, ordered_by) %}
    {{ return("arg_max(" ~ column ~ ", (" ~ ordered_by ~ ", " ~ column ~ "))") }}
{% endmacro %}

{% macro postgres__latest_value(column, ordered_by) %}
    {{ return(
        "(array_agg(" ~ column ~ " order by " ~ ordered_by ~ " desc, " ~ by_bytes(column) ~ " desc)"
        ~ " filter (where " ~ column ~ " is not null))[1]"
    ) }}
{% endmacro %}


{# All values, in the order of their bytes, as one text. #}
{% macro ordered_concatenation(column) -%}
    {{ return(adapter.dispatch('ordered_concatenation', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro default__ordered_concatenation(column) %}{{ unsupported_adapter('ordered_concatenation') }}{% endmacro %}

{% macro duckdb__ordered_concatenation(column) %}
    {{ return("string_agg(" ~ column ~ ", '' order by " ~ column ~ ")") }}
{% endmacro %}

{% macro postgres__ordered_concatenation(column) %}
    {{ return("string_agg(" ~ column ~ ", '' order by " ~ by_bytes(column) ~ ")") }}
{% endmacro %}

{% macro spark__latest_value(column, ordered_by) %}
    {{ return("max_by(" ~ column ~ ", struct(" ~ ordered_by ~ ", " ~ column ~ ")) filter (where " ~ column ~ " is not null)") }}
{% endmacro %}

{% macro spark__ordered_concatenation(column) %}
    {{ return("array_join(array_sort(collect_list(" ~ column ~ ")), '')") }}
{% endmacro %}
