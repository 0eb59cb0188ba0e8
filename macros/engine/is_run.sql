{# Whether this command of dbt executes the SQL of models or tests. Only then may a macro query the source or the warehouse: `dbt
   compile`, `parse`, `list` and `docs generate` must work before the first build and without access to LiteLLM's data. They get the
   SQL of a first run on a current LiteLLM. So does a unit test, which brings its own rows. #}
{% macro is_run() %}
    {%- set commands = ['run', 'build', 'test', 'show', 'seed', 'snapshot', 'retry', 'run-operation'] -%}
    {%- set is_unit_test = model is defined and model.resource_type == 'unit_test' -%}
    {{ return(execute and flags.WHICH in commands and not is_unit_test) }}
{% endmacro %}
