-- Warns, with the number of requests and their sum for each warning: they are counted, but without their names or tags, or with a
-- cost below zero. `select * from spend_log_warnings` shows them.
{{ config(severity='warn') }}

select
    warning,
    count(*) as request_count,
    sum(cost_usd) as cost_usd
from {{ ref('spend_log_warnings') }}
group by warning
