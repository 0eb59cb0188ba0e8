-- Money in = money out: what was summed is either in a line or of a provider that is left out.
with

amounts as (
    select
        sum(case when amount_source = 'hours' then cost_usd else 0 end) as hours_usd,
        sum(case when amount_source in ('lines', 'left_out') then cost_usd else 0 end) as accounted_usd
    from {{ ref('reconciliation_amounts') }}
    where amount_source in ('hours', 'lines', 'left_out')
),

summed as (
    select coalesce(sum(cost_usd), 0) as cost_usd
    from {{ ref('int_usage__hourly') }}
)

select
    summed.cost_usd as summed_usd,
    amounts.hours_usd,
    amounts.accounted_usd
from summed
cross join amounts
where coalesce(amounts.hours_usd, 0) <> summed.cost_usd or coalesce(amounts.accounted_usd, 0) <> summed.cost_usd
