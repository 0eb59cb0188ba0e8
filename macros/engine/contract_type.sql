{# A type of the contract in YAML, as the engine calls it. #}
{% macro contract_type(name) -%}
    {{ return(adapter.dispatch('contract_type', 'litellm_cbf')(name)) }}
{%- endmacro %}

{% macro default__contract_type(name) %}{{ unsupported_adapter('contract_type') }}{% endmacro %}

{% macro duckdb__contract_type(name) %}{{ return(name) }}{% endmacro %}

{% macro postgres__contract_type(name) %}{{ return(name) }}{% endmacro %}

{% macro spark__contract_type(name) %}{{ return({'text': 'string'}.get(name, name)) }}{% endmacro %}
