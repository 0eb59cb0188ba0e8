{# The hash of a virtual key. What is neither a SHA-256 nor one of LiteLLM's names for its own credentials is hashed as LiteLLM hashes
   a key, so that a key or a session token of a row that LiteLLM did not hash stands nowhere in the warehouse. #}
{% macro hashed_api_key(column) -%}
    case
        when
            (length({{ column }}) = 64 and not {{ regexp_matches(column, '[^0-9a-fA-F]') }})
            or (length({{ column }}) = 75 and {{ regexp_matches(column, '^hashed-jwt-[0-9a-fA-F]+$') }})
            or {{ is_one_of(column, ['litellm_proxy_master_key', 'litellm-internal-health-check', 'litellm-cli', 'litellm_internal_jobs']) }}
            then {{ column }}
        else {{ sha256_hex(column) }}
    end
{%- endmacro %}

{# The part of an end user's id that stays. Some clients send a new session in it each time: Claude Code a JSON document with
   device_id and session_id, or user_<hash>_account_<uuid>_session_<uuid>. Another id is kept as it is. #}
{% macro stable_end_user(column) -%}
    case
        when substring({{ column }}, 1, 1) = '{' and {{ column }} like '%"session_id"%'
            then coalesce(
                {%- for key in ['device_id', 'user_id', 'account_uuid', 'account_id'] %}
                {{ regexp_group(column, '"' ~ key ~ '"\\s*:\\s*"([^"\\\\]+)"') }},
                {%- endfor %}
                {{ column }}
            )
        when {{ column }} like 'user%session%'
            then coalesce({{ regexp_group(column, '^(user_[0-9a-f]+(_account_[0-9a-f-]*)?)_session_[0-9a-f-]+$') }}, {{ column }})
        else {{ column }}
    end
{%- endmacro %}

{# A request's id; null where a program wrote a word for no value in its place. #}
{% macro request_id_or_null(column) -%}
    case
        when
            {{ is_one_of('lower(' ~ clean_text(column) ~ ')', ['none', 'null', 'nan', 'nat', 'n/a', 'undefined', '<na>', 'nil']) }}
            then null
        else {{ clean_text(column) }}
    end
{%- endmacro %}
