{# One row per `key`, so that a join on it can never repeat a line and its money. #}
{% macro names_once(names, key) -%}
with

names as (
    {{ names }}
),

ranked as (
    select
        names.*,
        row_number() over (partition by {{ key }} order by is_current desc) as rank_number
    from names
    where {{ blank_to_null(key) }} is not null
),

final as (
    select * from ranked
    where rank_number = 1
)

select * from final
{%- endmacro %}
