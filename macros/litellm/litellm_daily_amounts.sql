{# A select of LiteLLM's own daily sums: amount_source, happened_at (the start of the day), cost_usd. Tables and columns that this LiteLLM
   does not have are left out. Files have no such tables. A row whose amount is not a number (NaN, Infinity) or whose date is not a date
   has the amount_source litellm_daily_invalid and no cost; without a date it stands under today. Monthly fees of subscription accounts,
   which only newer versions have, stand under the first day of this month. `since`, a day such as 2026-01-31, leaves out older rows. #}
{% macro litellm_daily_amounts(since=none) -%}
    {{ return(adapter.dispatch('litellm_daily_amounts', 'litellm_cbf')(since)) }}
{%- endmacro %}

{% macro duckdb__litellm_daily_amounts(since) %}
    {{ return(no_amounts()) }}
{% endmacro %}

{% macro spark__litellm_daily_amounts(since) %}
    {{ return(no_amounts()) }}
{% endmacro %}

{% macro postgres__litellm_daily_amounts(since) %}
    {%- set selects = [] -%}
    {%- set has_date = "date ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'" -%}
    {#- The day is added to the first of its month, because PostgreSQL raises an error for 30 February. -#}
    {%- set day = "cast(substr(date, 1, 7) || '-01' as timestamp) + (cast(substr(date, 9, 2) as integer) - 1) * interval '1 day'" -%}
    {%- set today = "date_trunc('day', now() at time zone 'UTC')" -%}
    {%- for source_name, relation, column in [
        ('litellm_daily_user', source('litellm', 'daily_user_spend'), 'spend'),
        ('litellm_daily_team', source('litellm', 'daily_team_spend'), 'spend'),
        ('ptu_flat_cost', source('litellm', 'daily_team_spend'), 'ptu_flat_cost'),
    ] -%}
        {%- if not is_run() or column in adapter.get_columns_in_relation(relation) | map(attribute='name') -%}
            {%- set is_valid = has_date ~ ' and abs(' ~ column ~ ') < 1e15' -%}
            {%- do selects.append(
                "select case when " ~ is_valid ~ " then '" ~ source_name ~ "' else 'litellm_daily_invalid' end as amount_source,"
                ~ " case when " ~ has_date ~ " then " ~ day ~ " else " ~ today ~ " end as happened_at,"
                ~ " case when " ~ is_valid ~ " then " ~ exact_usd(column) ~ " else 0 end as cost_usd from " ~ relation
                ~ " where " ~ column ~ " <> 0" ~ (" and date >= '" ~ since ~ "'" if since else '')
            ) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- set accounts = source('litellm', 'subscription_accounts') -%}
    {%- set may_read -%}
        select to_regclass({{ sql_text(accounts) }}) is not null
        and has_column_privilege(to_regclass({{ sql_text(accounts) }}), 'monthly_fee', 'select')
    {%- endset -%}
    {%- if is_run() and 'monthly_fee' in adapter.get_columns_in_relation(accounts) | map(attribute='name') and run_query(may_read).rows[0][0] -%}
        {%- do selects.append(
            "select 'subscription_fee' as amount_source, date_trunc('month', now() at time zone 'UTC') as happened_at, "
            ~ exact_usd('cast(monthly_fee as double precision)') ~ " as cost_usd from " ~ accounts
            ~ " where abs(cast(monthly_fee as double precision)) < 1e15 and monthly_fee <> 0"
        ) -%}
    {%- endif -%}
    {{ return(selects | join(' union all ') or no_amounts()) }}
{% endmacro %}

{# A select of these columns without rows. #}
{% macro no_amounts() %}
    {{ return(
        "select cast(null as " ~ dbt.type_string() ~ ") as amount_source, cast(null as timestamp) as happened_at, cast(null as "
        ~ usd_type() ~ ") as cost_usd where false"
    ) }}
{% endmacro %}
