-- Fails for a file of which no request was accepted: its columns or keys are not those of spend logs, or it cannot be read. The other
-- files are summed and sent. It runs after the last model, so that it holds up none.
-- depends_on: {{ ref('cbf_as_of') }}
select
    source_file,
    rejection_reason,
    sum(request_count) as request_count,
    sum(cost_usd) as cost_usd
from {{ ref('int_usage__rejected_hours') }}
where file_is_rejected and request_count > 0
group by source_file, rejection_reason
