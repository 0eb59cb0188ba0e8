-- Warns, with the number of rows: their money is in no line. `select * from rejected_spend_logs` shows why.
{{ config(severity='warn') }}

select * from {{ ref('rejected_spend_logs') }}
