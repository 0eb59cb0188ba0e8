{# Aggregate: the non-null value of the row with the greatest `ordered_by`; if several rows tie, the greatest value by bytes. #}
{% macro latest_value(column, ordered_by) -%}
    {{ return(adapter.dispatch('latest_value', 'litellm_cbf')(column, ordered_by)) }}
{%- endmacro %}

{% macro duckdb__latest_value(column, ordered_by) %}
    {{ return("arg_max(" ~ column ~ ", (" ~ ordered_by ~ ", " ~ column ~ "))") }}
{% endmacro %}

{% macro postgres__latest_value(column, ordered_by) %}
    {{ return(
        "(array_agg(" ~ column ~ " order by " ~ ordered_by ~ " desc, " ~ by_bytes(column) ~ " desc)"
        ~ " filter (where " ~ column ~ " is not null))[1]"
    ) }}
{% endmacro %}

{% macro spark__latest_value(column, ordered_by) %}
    {{ return("max_by(" ~ column ~ ", struct(" ~ ordered_by ~ ", " ~ column ~ ")) filter (where " ~ column ~ " is not null)") }}
{% endmacro %}


{# Aggregate: all values, sorted by their bytes and concatenated. #}
{% macro ordered_concatenation(column) -%}
    {{ return(adapter.dispatch('ordered_concatenation', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__ordered_concatenation(column) %}
    {{ return("string_agg(" ~ column ~ ", '' order by " ~ column ~ ")") }}
{% endmacro %}

{% macro postgres__ordered_concatenation(column) %}
    {{ return("string_agg(" ~ column ~ ", '' order by " ~ by_bytes(column) ~ ")") }}
{% endmacro %}

{% macro spark__ordered_concatenation(column) %}
    {{ return("array_join(array_sort(collect_list(" ~ column ~ ")), '')") }}
{% endmacro %}
