-- A line without cost and without tokens says nothing and uses up the month's rows. Prompt or completion tokens
-- count as usage even where LiteLLM gives no total.
select
    usage_hour,
    team_id,
    provider,
    model
from {{ ref('int_usage__hourly') }}
where request_count > 0 and cost_usd = 0 and total_tokens = 0 and prompt_tokens = 0 and completion_tokens = 0
