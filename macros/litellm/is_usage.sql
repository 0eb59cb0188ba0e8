{# Whether a row of stg_litellm__spend_logs is usage to be summed: it can be placed, and it cost money or used tokens. A failed request
   without spend is not; one that cost money is.
   It is one comparison of text on purpose. PostgreSQL assumes that nearly all rows differ from a value, as they do here; for
   `rejection_reason is null` it would assume 0.5 %, and then plan the joins that follow for a handful of rows. #}
{% macro is_usage() -%}
    case
        when rejection_reason is not null then 'no_usage'
        when cost_usd <> 0 then 'usage'
        when status = 'failure' then 'no_usage'
        when total_tokens > 0 or prompt_tokens > 0 or completion_tokens > 0 then 'usage'
        else 'no_usage'
    end <> 'no_usage'
{%- endmacro %}
