{# Every var of this project, in the order of dbt_project.yml: name → `default`; `form`, the kind of value that check_var allows;
   `lasts`, whether the warehouse remembers it (false: for one run); and `meaning`, as docs/settings.md has it. That page and
   dbt_project.yml are checked against this list. #}
{% macro project_vars() %}
    {{ return({
        'litellm_schema': {
            'default': 'public', 'form': 'name', 'lasts': true,
            'meaning': "the schema of LiteLLM's tables (PostgreSQL)",
        },
        'line_dimensions': {
            'default': ['user'], 'form': 'list of dimensions', 'lasts': true,
            'meaning': "what a line is split by: `user`, `api_key`, `end_user`, `organization`, `project`, `model_group`, `call_type`, `agent`,"
                ~ " `tag:<key>`, `metadata:<key>` ([dimensions](mapping.md#dimensions))",
        },
        'lookback_hours': {
            'default': 72, 'form': 'hours, 1 to 87600', 'lasts': true,
            'meaning': "how far before the newest hour of the last complete run each run looks for late rows",
        },
        'load_until': {
            'default': none, 'form': 'UTC hour', 'lasts': false,
            'meaning': "a run sums nothing from this hour on; set by `loader load` for each step",
        },
        'rebuild_thinner_hours': {
            'default': false, 'form': 'boolean', 'lasts': false,
            'meaning': "for one run: replace hours even if the source now has fewer requests for them, and remove those that it no longer has; with"
                ~ " `--full-refresh`, not those before the oldest spend log",
        },
        'accept_changed': {
            'default': [], 'form': 'list of settings', 'lasts': false,
            'meaning': "for one run: settings whose change it may apply ([changed settings](operating.md#changed-settings)); same as `--accept-changed`",
        },
        'streams': {
            'default': none, 'form': 'mapping', 'lasts': true,
            'meaning': "splits lines over several AnyCost streams by team, provider or hash; the values must be text ([streams](streams.md))",
        },
        'token_tags': {
            'default': true, 'form': 'boolean', 'lasts': true,
            'meaning': "prompt and completion tokens as tags; `false` saves about 70 bytes per line",
        },
        'user_email': {
            'default': 'plain', 'form': '`plain`, `hashed`, `omitted`', 'lasts': true,
            'meaning': "how users' e-mail addresses are stored and sent ([privacy](privacy.md))",
        },
        'end_user': {
            'default': 'plain', 'form': '`plain`, `hashed`, `omitted`', 'lasts': true,
            'meaning': "the same for end users",
        },
        'include_providers': {
            'default': [], 'form': 'list of providers', 'lasts': true,
            'meaning': "send only these, if any: `openai`, `anthropic`, `bedrock`, `azure`, `vertex_ai`, … An unknown name stops the run"
                ~ " ([providers](mapping.md#providers))",
        },
        'exclude_providers': {
            'default': [], 'form': 'list of providers', 'lasts': true,
            'meaning': "do not send these",
        },
    }) }}
{% endmacro %}

{# The value of a var, checked. Models and macros read vars through this, so that no command of dbt works with a value that is not
   valid. #}
{% macro project_var(name) %}
    {%- set spec = project_vars()[name] -%}
    {%- set value = var(name, spec.default) -%}
    {%- do check_var(name, value, spec.form) -%}
    {{ return(value) }}
{% endmacro %}
