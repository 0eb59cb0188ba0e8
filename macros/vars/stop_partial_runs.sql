{# Stops a run that would say that everything is summed although it is not: with --empty or --sample, or with cbf_as_of but without the
   models that sum usage. Runs before each run. #}
{% macro stop_partial_runs() %}
    {%- if not is_run() or flags.WHICH not in ['run', 'build', 'retry'] -%}{{ return('') }}{%- endif -%}
    {%- for option in ['empty', 'sample'] if invocation_args_dict.get(option) -%}
        {{ exceptions.raise_compiler_error(
            "--" ~ option ~ " (or DBT_" ~ option | upper ~ ") would build the models from no rows, or from a part of them, and CloudZero's hours"
            ~ " would be compared with that. Leave it out; to check the SQL only, use `dbt compile`."
        ) }}
    {%- endfor -%}
    {%- set selected = selected_resources | map('replace', 'model.litellm_cbf.', '') | list -%}
    {%- set missing = ['int_usage__hourly', 'cbf_hours'] | reject('in', selected) | list -%}
    {%- if 'cbf_as_of' in selected and missing -%}
        {{ exceptions.raise_compiler_error(
            "This run selects cbf_as_of, which says which hours are complete, but not " ~ missing | join(' and ') ~ ". Run `dbt build` for"
            ~ " everything, or leave cbf_as_of out with --exclude cbf_as_of."
        ) }}
    {%- endif -%}
{% endmacro %}
