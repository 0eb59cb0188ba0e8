{# czrn:<service-type>:<provider>:<region>:<owner-account-id>:<resource-type>:<cloud-local-id> #}
{% macro czrn(provider, owner, local_id) -%}
    'czrn:litellm:' || {{ provider }} || ':cross-region:' || {{ owner }} || ':llm-usage:' || {{ local_id }}
{%- endmacro %}
