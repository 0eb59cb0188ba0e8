{# Records in run_log that a run of dbt that builds models begins, and with which settings. Before that, reports the settings that differ
   from those of the last run, and stops if they need to be accepted. A statement for on-run-start; empty without models, and as
   long as there is no run_log. #}
{% macro record_run_start() %}
    {%- set models = selected_models() if is_run() else [] -%}
    {%- set run_log = load_relation(built_relation('run_log')) if models else none -%}
    {%- if run_log is none -%}{{ return('') }}{%- endif -%}
    {%- set changes = changed_settings(run_log) -%}
    {%- do require_accepted(changes) -%}
    {%- set messages = [] -%}
    {%- for change in changes -%}
        {%- do messages.append(describe_change(change)) -%}
        {%- do log('Changed since the last run: ' ~ describe_change(change), info=true) -%}
    {%- endfor -%}
    {{ return(insert_into_run_log(run_log, 'begun', models, messages)) }}
{% endmacro %}

{# Records in run_log that a run of dbt has ended, and which models it built. A statement for on-run-end, empty as above. #}
{% macro record_run_end(results) %}
    {%- set run_log = load_relation(built_relation('run_log')) if is_run() and selected_models() else none -%}
    {%- if run_log is none -%}{{ return('') }}{%- endif -%}
    {%- set built = [] -%}
    {%- for result in results if result.node.unique_id.startswith('model.litellm_cbf.') and result.status == 'success' -%}
        {%- do built.append(result.node.name) -%}
    {%- endfor -%}
    {{ return(insert_into_run_log(run_log, 'ended', built | sort, [])) }}
{% endmacro %}

{# The names of this project's models that the command of dbt builds. #}
{% macro selected_models() %}
    {%- set models = [] -%}
    {%- for id in selected_resources | sort if id.startswith('model.litellm_cbf.') -%}
        {%- do models.append(graph.nodes[id].name) -%}
    {%- endfor -%}
    {{ return(models) }}
{% endmacro %}

{# A statement that appends a row to run_log. Rows are ordered by number, so that the order does not depend on a clock. #}
{% macro insert_into_run_log(run_log, phase, models, changes) %}
    {%- set last = run_query('select max(sequence) from ' ~ run_log).rows[0][0] -%}
    {%- set values = [
        (last or 0) | int + 1, sql_text(invocation_id), sql_text(phase), sql_text(flags.WHICH), sql_text(tojson(models)),
        sql_text(tojson(effective_settings(), none, true)), sql_text(tojson(changes)),
        timestamp_literal(modules.datetime.datetime.utcnow().strftime('%Y-%m-%d %H:%M:%S.%f')),
    ] -%}
    {{ return('insert into ' ~ run_log ~ ' values (' ~ values | join(', ') ~ ')') }}
{% endmacro %}
