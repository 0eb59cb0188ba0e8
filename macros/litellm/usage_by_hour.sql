{# A select of what staging comes to by hour from `start` on, UTC as text, or within the lookback window. An hour is settled if no row of it was written after the
   last run began: the run must have seen all of it. Where LiteLLM does not say when it wrote a row, that is taken to be within two hours
   of the request's start. #}
{% macro usage_by_hour(start=none, built_at=none) -%}
    select
        spend_logs.usage_hour,
        count(*) as request_count,
        min(spend_logs.started_at) as first_started_at,
        sum(spend_logs.cost_usd) as cost_usd,
        sum(spend_logs.total_tokens) as total_tokens,
        max(coalesce(spend_logs.updated_at, spend_logs.landed_at, spend_logs.started_at + interval '2 hours'))
        <= {{ built_at or 'max(as_of.built_at)' }} as is_settled
    from {{ ref('stg_litellm__spend_logs') }} as spend_logs
    {%- if not built_at %}
    cross join {{ ref('cbf_as_of') }} as as_of
    {%- endif %}
    where
        {{ is_usage() }}
        and {{ starts_within(start or usage_window_start(load_kept_hours()), load_until(), 'spend_logs') }}
    group by spend_logs.usage_hour
{%- endmacro %}
