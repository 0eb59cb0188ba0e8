{# Stops a run that sets a var whose name is nearly that of one of ours: dbt ignores unknown vars, so that a misspelled exclude_providers
   would send what it was to leave out. #}
{% macro check_var_names() %}
    {%- set known = project_vars() | list -%}
    {%- for name in known -%}
        {#- dbt does not list the vars of dbt_project.yml, so likely misspellings are looked up. Those of a short name could be another
            package's. -#}
        {%- for wrong in var_misspellings(name) if wrong not in known and var.has_var(wrong) -%}
            {%- do raise_misspelled_var(wrong, name) -%}
        {%- endfor -%}
        {%- set given = invocation_args_dict.get('vars') -%}
        {%- for wrong in (given if given is mapping else {}) if wrong not in known and is_misspelling_of(wrong | string, name) -%}
            {%- do raise_misspelled_var(wrong, name) -%}
        {%- endfor -%}
    {%- endfor -%}
{% endmacro %}

{# The error for a misspelled var. #}
{% macro raise_misspelled_var(wrong, name) %}
    {{ exceptions.raise_compiler_error("There is no var " ~ wrong ~ ", and dbt would ignore it. Did you mean " ~ name ~ "?") }}
{% endmacro %}

{# Likely misspellings of a var's name: without one letter, with two neighbours exchanged, with other separators. #}
{% macro var_misspellings(name) %}
    {%- set wrong = [name | replace('_', '-'), name | replace('_', ''), name | upper] -%}
    {%- if name | length > 8 -%}
        {%- do wrong.append(name ~ 's') -%}
        {%- for at in range(name | length) -%}
            {%- do wrong.append(name[:at] ~ name[at + 1:]) -%}
            {%- do wrong.append(name[:at] ~ name[at + 1:at + 2] ~ name[at] ~ name[at + 2:]) -%}
            {%- do wrong.append(name[:at] ~ name[at] ~ name[at:]) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(wrong | reject('equalto', name) | unique | list) }}
{% endmacro %}

{# Whether `wrong` is `name` but for separators and case, or for one letter more, less, exchanged or different. #}
{% macro is_misspelling_of(wrong, name) %}
    {%- set same = wrong.lower() | replace('-', '') | replace('_', '') == name | replace('_', '') -%}
    {%- if same or name | length < 9 -%}{{ return(same) }}{%- endif -%}
    {%- set common = namespace(start=0, end=0) -%}
    {%- set shorter = [wrong | length, name | length] | min -%}
    {%- for at in range(shorter) if common.start == at and wrong[at] == name[at] -%}{%- set common.start = at + 1 -%}{%- endfor -%}
    {%- for at in range(shorter - common.start) if common.end == at and wrong[-1 - at] == name[-1 - at] -%}{%- set common.end = at + 1 -%}{%- endfor -%}
    {%- set longer = [wrong | length, name | length] | max -%}
    {%- set exchanged = wrong | length == name | length and common.start + common.end == longer - 2 and wrong | sort == name | sort -%}
    {{ return(common.start + common.end >= longer - 1 or exchanged) }}
{% endmacro %}
