{# A select of the hours of int_usage__hourly (`relation`), each with the invocation_id of the run of dbt that stored it, empty for an earlier
   version. All rows of an hour are stored together, so one of them says it. #}
{% macro stored_hours(relation) -%}
    {{ return(adapter.dispatch('stored_hours', 'litellm_cbf')(relation)) }}
{%- endmacro %}

{# Two columns are read, which DuckDB and Parquet compress to a fraction of a byte per row. #}
{% macro default__stored_hours(relation) %}
    select
        usage_hour,
        coalesce(max(invocation_id), '') as invocation_id
    from {{ relation }}
    group by usage_hour
{% endmacro %}

{# PostgreSQL looks up one row per hour in the index, instead of reading them all. #}
{% macro postgres__stored_hours(relation) %}
    with recursive hours as (
        (
            select
                usage_hour,
                invocation_id
            from {{ relation }}
            order by usage_hour
            limit 1
        )

        union all

        select
            following.usage_hour,
            following.invocation_id
        from hours
        cross join lateral (
            select
                usage_hour,
                invocation_id
            from {{ relation }}
            where usage_hour > hours.usage_hour
            order by usage_hour
            limit 1
        ) as following
    )

    select
        usage_hour,
        coalesce(invocation_id, '') as invocation_id
    from hours
{% endmacro %}
