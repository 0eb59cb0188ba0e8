{# The type of money: 20 digits before the decimal point and 18 after it. #}
{% macro usd_type() -%}
    decimal(38, 18)
{%- endmacro %}


{# A double as an exact decimal. It goes through the shortest text of the double, because a direct cast keeps 15 digits on
   PostgreSQL and the binary value on DuckDB: the same spend would differ between engines. #}
{% macro exact_usd(column) -%}
    cast({{ shortest_text(column) }} as {{ usd_type() }})
{%- endmacro %}


{# The shortest text that reads back as the same double. #}
{% macro shortest_text(column) -%}
    {{ return(adapter.dispatch('shortest_text', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__shortest_text(column) %}{{ return("cast(" ~ column ~ " as varchar)") }}{% endmacro %}

{% macro postgres__shortest_text(column) %}{{ return("cast(" ~ column ~ " as text)") }}{% endmacro %}

{# Before Java 19, a cast to text did not always give the shortest text (JDK-4511638: 2e23 became 1.9999999999999998E23).
   Jackson, which ships with Spark, has the algorithm that Java later adopted; the last argument selects it. #}
{% macro spark__shortest_text(column) %}
    {{ return("java_method('com.fasterxml.jackson.core.io.NumberOutput', 'toString', cast(" ~ column ~ " as double), true)") }}
{% endmacro %}


{# Money as text with all 18 decimals and never an exponent. Fingerprints are computed from it. #}
{% macro usd_text(column) -%}
    {{ return(adapter.dispatch('usd_text', 'litellm_cbf')(column)) }}
{%- endmacro %}

{% macro duckdb__usd_text(column) %}{{ return("cast(" ~ column ~ " as varchar)") }}{% endmacro %}

{% macro postgres__usd_text(column) %}{{ return("cast(" ~ column ~ " as text)") }}{% endmacro %}

{# dbt-spark turns ANSI mode off, and without it a cast gives 1.000000E-12. #}
{% macro spark__usd_text(column) %}{{ return("replace(format_number(" ~ column ~ ", 18), ',', '')") }}{% endmacro %}
