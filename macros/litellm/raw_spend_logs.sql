{# A select of LiteLLM's rows as they were written, with the same column names and types for every kind of source. Only the named columns
   are read: never messages, response or proxy_server_request. A number that cannot be parsed becomes NaN, which staging
   rejects with a reason; it does not become zero. #}
{% macro raw_spend_logs(spend_logs) -%}
    {{ return(adapter.dispatch('raw_spend_logs', 'litellm_cbf')(spend_logs)) }}
{%- endmacro %}


{% macro postgres__raw_spend_logs(spend_logs) %}
    {%- set columns = litellm_columns(
        spend_logs,
        required=[
            'request_id', 'call_type', 'api_key', 'spend', 'total_tokens', 'prompt_tokens', 'completion_tokens', 'startTime',
            'endTime', 'model', 'model_group', 'custom_llm_provider', 'user', 'team_id', 'end_user', 'metadata', 'request_tags',
        ],
        optional={
            'status': 'text', 'organization_id': 'text', 'agent_id': 'text', 'created_at': 'timestamp', 'updated_at': 'timestamp',
        },
    ) -%}
    select
        request_id,
        call_type,
        coalesce(nullif(api_key, ''), metadata ->> 'user_api_key') as api_key,
        cast(spend as double precision) as spend,
        cast(prompt_tokens as double precision) as prompt_tokens,
        cast(completion_tokens as double precision) as completion_tokens,
        cast(total_tokens as double precision) as total_tokens,
        "startTime" as started_at,
        "endTime" as ended_at,
        {{ columns['updated_at'] }} as updated_at,
        coalesce({{ columns['created_at'] }}, {{ columns['updated_at'] }}) as landed_at,
        model,
        model_group,
        custom_llm_provider,
        coalesce(nullif("user", ''), metadata ->> 'user_api_key_user_id') as user_id,
        coalesce(nullif(team_id, ''), metadata ->> 'user_api_key_team_id') as team_id,
        coalesce(nullif({{ columns['organization_id'] }}, ''), metadata ->> 'user_api_key_org_id') as organization_id,
        coalesce(nullif(metadata ->> 'user_api_key_project_id', ''), metadata ->> 'user_api_key_project_alias') as project_id,
        end_user,
        {{ columns['agent_id'] }} as agent_id,
        {{ columns['status'] }} as status,
        metadata ->> 'user_api_key_team_alias' as team_alias,
        metadata ->> 'user_api_key_user_email' as user_email,
        metadata ->> 'user_api_key_alias' as api_key_alias,
        metadata ->> 'user_api_key_org_alias' as organization_alias,
        metadata ->> 'user_api_key_project_alias' as project_alias,
        {{ postgres_array_of_texts('request_tags') }} as request_tags,
        case
            when jsonb_typeof(metadata -> 'spend_logs_metadata') = 'object'
                then cast(metadata -> 'spend_logs_metadata' as text)
        end as spend_logs_metadata
    from {{ spend_logs }}
{% endmacro %}

{# A JSON list of strings as text. Some rows have a JSON string that contains the list. That text is checked before it is cast, because
   casting broken text would stop the whole run on account of one row's tags. #}
{% macro postgres_array_of_texts(column) -%}
    case
        when jsonb_typeof({{ column }}) = 'array' then cast({{ column }} as text)
        when
            ({{ column }} #>> '{}') ~ '^\s*\[\s*("([^"\\[:cntrl:]]|\\["\\/bfnrt])*"\s*(,\s*"([^"\\[:cntrl:]]|\\["\\/bfnrt])*"\s*)*)?\]\s*$'
            then {{ column }} #>> '{}'
    end
{%- endmacro %}


{% macro duckdb__raw_spend_logs(spend_logs) %}
    {%- set path = env_var('LITELLM_SPEND_LOGS', 'data/spend_logs/*') -%}
    with

    rows_as_text as (
        {%- for part in duckdb_spend_log_files(path) %}
        {%- if not loop.first %}
        union all
        {%- endif %}
        {{ part }}
        {%- else %}
        {{ duckdb_select_spend_logs('(select 1) as nothing where false', {}) }}
        {%- endfor %}
    ),

    documents as (
        select
            * exclude (metadata, request_tags),
            {{ duckdb_json_document('request_tags') }} as request_tags,
            {{ duckdb_json_document('metadata') }} as metadata
        from rows_as_text
    ),

    named as (
        select
            * exclude (metadata),
            -- All names in one pass over the document.
            json_extract_string(metadata, [
                '$.user_api_key', '$.user_api_key_hash', '$.user_api_key_user_id', '$.user_api_key_team_id',
                '$.user_api_key_org_id', '$.user_api_key_project_id', '$.user_api_key_project_alias',
                '$.user_api_key_team_alias', '$.user_api_key_user_email', '$.user_api_key_alias',
                '$.user_api_key_org_alias', '$.spend_logs_metadata'
            ]) as names
        from documents
    )

    select
        coalesce(request_id, id) as request_id,
        call_type,
        coalesce(nullif(api_key, ''), names[1], names[2]) as api_key,
        {{ duckdb_number('coalesce(spend, response_cost)') }} as spend,
        {{ duckdb_number('prompt_tokens') }} as prompt_tokens,
        {{ duckdb_number('completion_tokens') }} as completion_tokens,
        {{ duckdb_number('total_tokens') }} as total_tokens,
        started_at,
        ended_at,
        updated_at,
        coalesce(created_at, updated_at) as landed_at,
        model,
        model_group,
        custom_llm_provider,
        coalesce(nullif(user_id, ''), names[3]) as user_id,
        coalesce(nullif(team_id, ''), names[4]) as team_id,
        coalesce(nullif(organization_id, ''), names[5]) as organization_id,
        coalesce(nullif(names[6], ''), names[7]) as project_id,
        end_user,
        agent_id,
        status,
        names[8] as team_alias,
        names[9] as user_email,
        names[10] as api_key_alias,
        names[11] as organization_alias,
        names[7] as project_alias,
        case when json_type(request_tags) = 'ARRAY' then request_tags end as request_tags,
        case when json_valid(names[12]) and json_type(names[12]) = 'OBJECT' then names[12] end as spend_logs_metadata
    from named
{% endmacro %}


{% macro spark__raw_spend_logs(spend_logs) %}
    {%- set path = env_var('LITELLM_SPEND_LOGS', 'data/spend_logs/*') -%}
    {%- set names = [
        'user_api_key', 'user_api_key_hash', 'user_api_key_user_id', 'user_api_key_team_id', 'user_api_key_org_id',
        'user_api_key_project_id', 'user_api_key_project_alias', 'user_api_key_team_alias', 'user_api_key_user_email',
        'user_api_key_alias', 'user_api_key_org_alias', 'spend_logs_metadata',
    ] -%}
    {%- do stop_unless_utc() -%}
    with

    rows_as_text as (
        {%- for part in spark_spend_log_files(path) %}
        {%- if not loop.first %}
        union all
        {%- endif %}
        {{ part }}
        {%- else %}
        {{ spark_select_spend_logs(none, none) }}
        {%- endfor %}
    ),

    named as (
        select
            *,
            {{ spark_json_document('request_tags') }} as tags,
            -- All names in one pass over the document.
            from_json({{ spark_json_document('metadata') }}, '{{ names | join(' string, ') }} string') as names
        from rows_as_text
    )

    select
        coalesce(request_id, id) as request_id,
        call_type,
        coalesce(nullif(api_key, ''), names.user_api_key, names.user_api_key_hash) as api_key,
        {{ spark_number('coalesce(spend, response_cost)') }} as spend,
        {{ spark_number('prompt_tokens') }} as prompt_tokens,
        {{ spark_number('completion_tokens') }} as completion_tokens,
        {{ spark_number('total_tokens') }} as total_tokens,
        started_at,
        ended_at,
        updated_at,
        coalesce(created_at, updated_at) as landed_at,
        model,
        model_group,
        custom_llm_provider,
        coalesce(nullif(user_id, ''), names.user_api_key_user_id) as user_id,
        coalesce(nullif(team_id, ''), names.user_api_key_team_id) as team_id,
        coalesce(nullif(organization_id, ''), names.user_api_key_org_id) as organization_id,
        coalesce(nullif(names.user_api_key_project_id, ''), names.user_api_key_project_alias) as project_id,
        end_user,
        agent_id,
        status,
        names.user_api_key_team_alias as team_alias,
        names.user_api_key_user_email as user_email,
        names.user_api_key_alias as api_key_alias,
        names.user_api_key_org_alias as organization_alias,
        names.user_api_key_project_alias as project_alias,
        case when schema_of_variant(try_parse_json(tags)) like 'ARRAY%' then tags end as request_tags,
        case when schema_of_variant(try_parse_json(names.spend_logs_metadata)) like 'OBJECT%' then names.spend_logs_metadata end
            as spend_logs_metadata
    from named
{% endmacro %}

{# Stops the run unless the session's time zone is UTC: Spark shows timestamps, and truncates them to hours, in that zone. #}
{% macro stop_unless_utc() %}
    {%- set zone = run_query('select current_timezone()').columns[0].values()[0] if is_run() else 'UTC' -%}
    {%- if zone not in ['UTC', 'Etc/UTC', 'GMT', 'Z', '+00:00'] -%}
        {{ exceptions.raise_compiler_error(
            "The session's time zone is " ~ zone ~ ", but must be UTC. To fix: set spark.sql.session.timeZone to UTC"
            ~ " (server_side_parameters in profiles.yml)."
        ) }}
    {%- endif -%}
{% endmacro %}
