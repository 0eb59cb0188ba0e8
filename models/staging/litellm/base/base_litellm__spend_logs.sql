-- One row per stored spend log, repeated request_ids included, in one set of columns for every kind of source.
-- No row is left out and no value is judged here.
{{ raw_spend_logs(source('litellm', 'spend_logs')) }}
