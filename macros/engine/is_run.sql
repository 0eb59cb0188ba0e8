{# Whether this command of dbt executes the SQL of models or tests. Only then may a macro query the source or the warehouse: `dbt
   compile`, `parse`, `list` and `docs generate` must work before the first build and without access to LiteLLM's data. They get the SQL of a
   first run on a current LiteLLM. #}
{% macro is_run() %}
    {{ return(execute and flags.WHICH in ['run', 'build', 'test', 'show', 'seed', 'snapshot', 'retry', 'run-operation']) }}
{% endmacro %}
