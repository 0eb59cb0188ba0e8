-- One row per stored spend log, including repeated request_ids, with the same columns for every kind of source.
-- No row is left out and no value is rejected here.
{{ raw_spend_logs(source('litellm', 'spend_logs')) }}
