{# A condition that keeps the times from `start` on and before `end`, both UTC as text or none. Being a plain range of a column, it can use
   LiteLLM's index on "startTime" and the statistics of a Parquet file. #}
{% macro is_within(column, start, end) %}
    {%- set conditions = [] -%}
    {%- if start -%}{%- do conditions.append(column ~ ' >= ' ~ timestamp_literal(start)) -%}{%- endif -%}
    {%- if end -%}{%- do conditions.append(column ~ ' < ' ~ timestamp_literal(end)) -%}{%- endif -%}
    {{ return(conditions | join(' and ') or 'true') }}
{% endmacro %}
