-- Money in = money out: cbf_hours speaks of every line.
with

lines as (
    select
        count(*) as line_count,
        coalesce(sum({{ cbf_column('cost/cost') }}), 0) as cost_usd
    from {{ ref('cbf_lines') }}
),

hours as (
    select
        coalesce(sum(line_count), 0) as line_count,
        coalesce(sum(cost_usd), 0) as cost_usd
    from {{ ref('cbf_hours') }}
)

select
    lines.line_count,
    hours.line_count as hours_line_count
from lines
cross join hours
where lines.line_count <> hours.line_count or lines.cost_usd <> hours.cost_usd
