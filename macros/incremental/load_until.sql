{# Var load_until as text, UTC: this run sums no request that starts then or later. None without one. #}
{% macro load_until() %}
    {%- set until = var('load_until') -%}
    {%- if until is none -%}{{ return(none) }}{%- endif -%}
    {%- if not modules.re.match('^[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{2}:00(:00)?)?\\Z', until | string) -%}
        {{ exceptions.raise_compiler_error(
            "var load_until is not valid: " ~ until ~ ". It must be a whole UTC hour, such as '2026-02-01' or '2026-02-01 12:00'."
        ) }}
    {%- endif -%}
    {{ return(until | string) }}
{% endmacro %}
