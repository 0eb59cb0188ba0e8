{# The engine's name for a data_type that a contract in YAML declares. #}
{% macro contract_type(name) -%}
    {{ return(adapter.dispatch('contract_type', 'litellm_cbf')(name)) }}
{%- endmacro %}

{% macro duckdb__contract_type(name) %}{{ return(name) }}{% endmacro %}

{% macro postgres__contract_type(name) %}{{ return(name) }}{% endmacro %}

{% macro spark__contract_type(name) %}{{ return({'text': 'string'}.get(name, name)) }}{% endmacro %}
