-- Money in = money out, hour by hour and stream by stream: cbf_hours counts every line.
with

lines as (
    select
        {{ cbf_column('time/usage_start') }} as usage_hour,
        {{ stream_of_line() }} as stream,
        count(*) as line_count,
        sum({{ cbf_column('cost/cost') }}) as cost_usd
    from {{ ref('cbf_lines') }}
    group by usage_hour, stream
),

hours as (
    select * from {{ ref('cbf_hours') }}
    where line_count > 0
)

select
    lines.usage_hour,
    lines.stream,
    hours.usage_hour as hours_usage_hour,
    lines.line_count,
    hours.line_count as hours_line_count
from lines
full outer join hours on lines.usage_hour = hours.usage_hour and lines.stream = hours.stream
where
    lines.usage_hour is null
    or hours.usage_hour is null
    or lines.line_count <> hours.line_count
    or lines.cost_usd <> hours.cost_usd
