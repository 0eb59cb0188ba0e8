{# Whether the source has LiteLLM's tables of teams, users, keys and organizations. Files have none. #}
{% macro has_name_tables() -%}
    {{ return(adapter.dispatch('has_name_tables', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__has_name_tables() %}{{ return(false) }}{% endmacro %}

{% macro postgres__has_name_tables() %}{{ return(true) }}{% endmacro %}

{% macro spark__has_name_tables() %}{{ return(false) }}{% endmacro %}
