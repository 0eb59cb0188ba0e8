{# Translates the types of a model's contract into the engine's names. It runs as the model's pre-hook, because dbt checks the
   contract against `model`, which is only complete then. #}
{% macro declare_types() %}
    {%- for column in model['columns'].values() -%}
        {%- do column.update({'data_type': contract_type(column['data_type'])}) -%}
    {%- endfor -%}
{% endmacro %}
