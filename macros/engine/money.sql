{# The shortest text that reads back as the same double. #}
{% macro shortest_text(column) -%}
    {{ return(adapter.dispatch('shortest_text', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro default__shortest_text(column) %}{{ unsupported_adapter('shortest_text') }}{% endmacro %}

{% macro duckdb__shortest_text(column) %}{{ return("cast(" ~ column ~ " as varchar)") }}{% endmacro %}

{% macro postgres__shortest_text(column) %}{{ return("cast(" ~ column ~ " as text)") }}{% endmacro %}

{# Before Java 19 a cast to text is not always the shortest (JDK-4511638: 2e23 is 1.9999999999999998E23). Jackson, which
   is part of Spark, has the algorithm that Java took over then; the last argument chooses it. #}
{% macro spark__shortest_text(column) %}
    {{ return("java_method('com.fasterxml.jackson.core.io.NumberOutput', 'toString', cast(" ~ column ~ " as double), true)") }}
{% endmacro %}


{# Money as text with all its 18 decimals and never an exponent: what the fingerprint is taken from. #}
{% macro usd_text(column) -%}
    {{ return(adapter.dispatch('usd_text', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro default__usd_text(column) %}{{ unsupported_adapter('usd_text') }}{% endmacro %}

{% macro duckdb__usd_text(column) %}{{ return("cast(" ~ column ~ " as varchar)") }}{% endmacro %}

{% macro postgres__usd_text(column) %}{{ return("cast(" ~ column ~ " as text)") }}{% endmacro %}

{# dbt-spark switches ANSI mode off, and then a cast gives 1.000000E-12. #}
{% macro spark__usd_text(column) %}{{ return("replace(format_number(" ~ column ~ ", 18), ',', '')") }}{% endmacro %}
