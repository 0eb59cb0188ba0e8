{# A select of LiteLLM's own daily sums: amount_source, happened_at (the start of the day), cost_usd. Tables and columns that this LiteLLM
   does not have are left out. Files have no such tables. #}
{% macro litellm_daily_amounts() -%}
    {{ return(adapter.dispatch('litellm_daily_amounts', 'litellm_cbf')()) }}
{%- endmacro %}

{% macro duckdb__litellm_daily_amounts() %}
    {{ return(no_amounts()) }}
{% endmacro %}

{% macro spark__litellm_daily_amounts() %}
    {{ return(no_amounts()) }}
{% endmacro %}

{% macro postgres__litellm_daily_amounts() %}
    {%- set selects = [] -%}
    {%- for source_name, relation, column in [
        ('litellm_daily_user', source('litellm', 'daily_user_spend'), 'spend'),
        ('litellm_daily_team', source('litellm', 'daily_team_spend'), 'spend'),
        ('ptu_flat_cost', source('litellm', 'daily_team_spend'), 'ptu_flat_cost'),
    ] -%}
        {%- if not is_run() or column in adapter.get_columns_in_relation(relation) | map(attribute='name') -%}
            {%- do selects.append(
                "select cast('" ~ source_name ~ "' as text) as amount_source, cast(date as timestamp) as happened_at, "
                ~ exact_usd(column) ~ " as cost_usd from " ~ relation ~ " where " ~ column ~ " <> 0"
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(selects | join(' union all ') or no_amounts()) }}
{% endmacro %}

{# A select of these columns without rows. #}
{% macro no_amounts() %}
    {{ return(
        "select cast(null as " ~ dbt.type_string() ~ ") as amount_source, cast(null as timestamp) as happened_at, cast(null as "
        ~ usd_type() ~ ") as cost_usd where false"
    ) }}
{% endmacro %}
