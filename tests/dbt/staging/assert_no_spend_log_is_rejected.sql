-- Warns, with the number of rows: their money is in no line. `select * from rejected_spend_logs` shows why.
{{ config(severity='warn') }}

select
    request_id,
    rejection_reason,
    cost_usd
from {{ ref('rejected_spend_logs') }}
