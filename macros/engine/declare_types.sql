{# Says each type of a contract as the engine does. Runs as the model's pre-hook, where `model` is what the contract is
   checked against. #}
{% macro declare_types() %}
    {%- for column in model['columns'].values() -%}
        {%- do column.update({'data_type': contract_type(column['data_type'])}) -%}
    {%- endfor -%}
{% endmacro %}
