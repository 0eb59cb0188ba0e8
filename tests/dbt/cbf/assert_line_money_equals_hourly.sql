-- Money in = money out: the lines hold what was summed, less the providers that are left out on purpose.
with

summed as (
    select
        coalesce(sum(cost_usd), 0) as cost_usd,
        coalesce(sum(total_tokens), 0) as total_tokens
    from {{ ref('int_usage__hourly') }}
    where {{ is_sent_provider('provider') }}
),

lines as (
    select
        coalesce(sum({{ cbf_column('cost/cost') }}), 0) as cost_usd,
        coalesce(sum({{ cbf_column('usage/amount') }}), 0) as total_tokens
    from {{ ref('cbf_lines') }}
)

select
    summed.cost_usd as summed_cost_usd,
    lines.cost_usd as line_cost_usd
from summed
cross join lines
where summed.cost_usd <> lines.cost_usd or summed.total_tokens <> lines.total_tokens
