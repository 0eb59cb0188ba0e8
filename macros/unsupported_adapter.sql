{% macro unsupported_adapter(macro_name) %}
    {{ exceptions.raise_compiler_error(
        "litellm-cbf does not know the adapter '" ~ target.type ~ "': write the macro '"
        ~ target.type ~ "__" ~ macro_name ~ "' in macros/adapters/, beside those of duckdb and postgres"
    ) }}
{% endmacro %}
