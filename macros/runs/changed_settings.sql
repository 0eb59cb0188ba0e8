{# The settings that a warehouse is summed with, as the warehouse remembers them: name → value. Lists whose order has no meaning are
   sorted, so that only a change that matters is one. #}
{% macro effective_settings() %}
    {%- set settings = {} -%}
    {%- for name, spec in project_vars().items() if spec.lasts and not (reads_files() and name == 'litellm_schema') -%}
        {%- set value = project_var(name) -%}
        {%- if spec.form == 'list of providers' -%}{%- set value = value | map('trim') | map('lower') | unique | sort | list -%}{%- endif -%}
        {%- if spec.form == 'list of dimensions' -%}{%- set value = value | unique(case_sensitive=true) | sort(case_sensitive=true) | list -%}{%- endif -%}
        {%- do settings.update({name: value | int if spec.form.startswith('hours') else value}) -%}
    {%- endfor -%}
    {%- if reads_files() -%}{%- do settings.update({'LITELLM_SPEND_LOGS': spend_log_path()}) -%}{%- endif -%}
    {{ return(settings) }}
{% endmacro %}

{# The names of all settings that a warehouse may remember. #}
{% macro remembered_settings() %}
    {%- set names = [] -%}
    {%- for name, spec in project_vars().items() if spec.lasts -%}{%- do names.append(name) -%}{%- endfor -%}
    {{ return(names + ['LITELLM_SPEND_LOGS']) }}
{% endmacro %}

{# Which settings differ from those that `run_log` has of the last run that built models: a list of name, before, now, effect and
   needs_acceptance. None differ before anything is summed. #}
{% macro changed_settings(run_log) %}
    {%- set changes = [] -%}
    {%- set kept = load_kept_hours() -%}
    {%- set last = run_query(
        "select run_settings from " ~ run_log ~ " where phase = 'ended' and models <> '[]' order by sequence desc limit 1"
    ).rows if kept is not none and run_query("select usage_hour from " ~ kept ~ " limit 1").rows else [] -%}
    {%- for row in last -%}
        {%- set before, now = fromjson(row[0]), effective_settings() -%}
        {%- for name, value in now.items() if name in before and before[name] != value -%}
            {%- set change = {'name': name, 'before': before[name], 'now': value} -%}
            {%- do change.update(effect_of_change(name, before, now)) -%}
            {%- do changes.append(change) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(changes) }}
{% endmacro %}

{# What the change of a setting does (`effect`), and whether it must be accepted by name (`needs_acceptance`): if other spend logs would
   replace those that were summed, if lines were left out and would be sent, or if people were hidden and would be shown. #}
{% macro effect_of_change(name, before, now) %}
    {%- set more_visible = ['omitted', 'hashed', 'plain'] -%}
    {%- if name in ['litellm_schema', 'LITELLM_SPEND_LOGS'] -%}
        {{ return({'effect': 'other spend logs replace those that were summed', 'needs_acceptance': true}) }}
    {%- elif name in ['include_providers', 'exclude_providers'] -%}
        {%- set removed = before[name] | reject('in', now[name]) | list -%}
        {%- set added = now[name] | reject('in', before[name]) | list -%}
        {%- set more = removed if name == 'exclude_providers' else added or (removed if not now[name] else []) if before[name] else [] -%}
        {{ return({
            'effect': 'providers that were left out are sent' if more else 'lines of providers are removed', 'needs_acceptance': more | length > 0,
        }) }}
    {%- elif name in ['user_email', 'end_user'] -%}
        {%- set shows_more = more_visible.index(now[name]) > more_visible.index(before[name]) -%}
        {%- set people = "users' e-mail addresses" if name == 'user_email' else 'end users' -%}
        {{ return({
            'effect': people ~ ' that were ' ~ before[name] ~ ' are sent ' ~ now[name] if shows_more else people ~ ' are no longer sent ' ~ before[name],
            'needs_acceptance': shows_more,
        }) }}
    {%- elif name == 'line_dimensions' -%}
        {%- set people = ['user'] + (['end_user'] if now.end_user == 'plain' else []) -%}
        {%- set shown = people | select('in', now[name]) | reject('in', before[name]) | list -%}
        {{ return({
            'effect': shown | join(' and ') ~ ' ids that were left out are sent' if shown else 'hours that are summed from now on are split by other dimensions',
            'needs_acceptance': shown | length > 0,
        }) }}
    {%- endif -%}
    {{ return({
        'effect': {
            'streams': 'lines go to other connections',
            'token_tags': 'the lines of all hours change and are sent again',
            'lookback_hours': 'late rows are looked for in another window',
        }[name],
        'needs_acceptance': false,
    }) }}
{% endmacro %}

{# A changed setting in words. #}
{% macro describe_change(change) %}
    {{ return(
        change.name ~ ' was ' ~ tojson(change.before) | truncate(80, true, '…') ~ ' and is now ' ~ tojson(change.now) | truncate(80, true, '…')
        ~ ': ' ~ change.effect ~ '.'
    ) }}
{% endmacro %}

{# Stops if a change must be accepted and var accept_changed does not name its setting. The loader recognises the first words. #}
{% macro require_accepted(changes) %}
    {%- set names = changes | selectattr('needs_acceptance') | map(attribute='name') | reject('in', project_var('accept_changed')) | list -%}
    {%- set messages = [] -%}
    {%- for change in changes if change.name in names -%}{%- do messages.append(describe_change(change)) -%}{%- endfor -%}
    {%- if messages -%}
        {{ exceptions.raise_compiler_error(
            "Settings differ from those of the last run: " ~ messages | join(' ') ~ " Nothing was changed. To keep the old value, set it as before."
            ~ " To apply the new one, run once with --accept-changed " ~ names | join(' --accept-changed ') ~ " (loader run, loader load) or --vars"
            ~ " 'accept_changed: [" ~ names | join(', ') ~ "]' (dbt)."
        ) }}
    {%- endif -%}
{% endmacro %}

{# Whether the spend logs are files, which LITELLM_SPEND_LOGS names. #}
{% macro reads_files() -%}
    {{ return(adapter.dispatch('reads_files', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__reads_files() %}{{ return(true) }}{% endmacro %}

{% macro postgres__reads_files() %}{{ return(false) }}{% endmacro %}

{% macro spark__reads_files() %}{{ return(true) }}{% endmacro %}
