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
        coalesce(nullif(api_key, ''), names ->> 'user_api_key', names ->> 'user_api_key_hash') as api_key,
        cast(spend as double precision) as spend,
        cast(prompt_tokens as double precision) as prompt_tokens,
        cast(completion_tokens as double precision) as completion_tokens,
        cast(total_tokens as double precision) as total_tokens,
        "startTime" as started_at,
        "endTime" as ended_at,
        {{ columns['updated_at'] }} as updated_at,
        coalesce({{ columns['created_at'] }}, {{ columns['updated_at'] }}) as landed_at,
        coalesce(nullif(model, ''), names -> 'batch_models' ->> 0) as model,
        model_group,
        custom_llm_provider,
        coalesce(nullif("user", ''), names ->> 'user_api_key_user_id') as user_id,
        coalesce(nullif(team_id, ''), names ->> 'user_api_key_team_id') as team_id,
        coalesce(nullif({{ columns['organization_id'] }}, ''), names ->> 'user_api_key_org_id') as organization_id,
        coalesce(nullif(names ->> 'user_api_key_project_id', ''), names ->> 'user_api_key_project_alias') as project_id,
        end_user,
        {{ columns['agent_id'] }} as agent_id,
        {{ columns['status'] }} as status,
        names ->> 'user_api_key_team_alias' as team_alias,
        names ->> 'user_api_key_user_email' as user_email,
        names ->> 'user_api_key_alias' as api_key_alias,
        names ->> 'user_api_key_org_alias' as organization_alias,
        names ->> 'user_api_key_project_alias' as project_alias,
        case when jsonb_typeof(tags) = 'array' then cast(tags as text) end as request_tags,
        cast({{ postgres_json_object("names -> 'spend_logs_metadata'") }} as text) as spend_logs_metadata,
        cast(null as text) as source_file,
        cast(null as text) as read_problem,
        false as has_unreadable_start,
        {{ postgres_is_unreadable('metadata', 'names', 'object') }} as has_unreadable_metadata,
        {{ postgres_is_unreadable('request_tags', 'tags', 'array') }} as has_unreadable_tags
    from {{ spend_logs }}
    cross join lateral (
        select
            {{ postgres_json_document('metadata') }} as names,
            {{ postgres_json_document('request_tags') }} as tags
    ) as documents
{% endmacro %}


{% macro duckdb__raw_spend_logs(spend_logs) %}
    {%- set path = spend_log_path() -%}
    with

    rows_as_text as (
        {{ duckdb_spend_log_files(path) | join('\nunion all\n') or duckdb_select_fields(
            {}, '(select 1) as nothing where false', 'cast(null as varchar)', 'cast(null as varchar)'
        ) }}
    ),

    documents as (
        select
            * exclude (metadata, request_tags),
            {{ duckdb_json_document('request_tags') }} as request_tags,
            {{ duckdb_json_document('metadata') }} as metadata,
            not {{ is_one_of("trim(request_tags, ' \"')", no_document_texts()) }} as has_tags,
            not {{ is_one_of("trim(metadata, ' \"')", no_document_texts()) }} as has_metadata
        from rows_as_text
    ),

    typed as (
        select
            *,
            try(json_type(request_tags)) as tags_type,
            try(json_type(metadata)) as metadata_type
        from documents
    ),

    named as (
        select
            * exclude (metadata),
            has_metadata and coalesce(metadata_type, '') not in ('OBJECT', 'NULL') as has_unreadable_metadata,
            has_tags and coalesce(tags_type, '') not in ('ARRAY', 'NULL') as has_unreadable_tags,
            -- One pass over the document for all names.
            json_extract_string(case when metadata_type = 'OBJECT' then metadata end, [
                '$.user_api_key', '$.user_api_key_hash', '$.user_api_key_user_id', '$.user_api_key_team_id',
                '$.user_api_key_org_id', '$.user_api_key_project_id', '$.user_api_key_project_alias',
                '$.user_api_key_team_alias', '$.user_api_key_user_email', '$.user_api_key_alias',
                '$.user_api_key_org_alias', '$.spend_logs_metadata', '$.batch_models[0]'
            ]) as names
        from typed
    )

    select
        coalesce(request_id, id) as request_id,
        call_type,
        coalesce(nullif(api_key, ''), names[1], names[2]) as api_key,
        coalesce({{ duckdb_number('spend') }}, {{ duckdb_number('response_cost') }}) as spend,
        {{ duckdb_number('prompt_tokens') }} as prompt_tokens,
        {{ duckdb_number('completion_tokens') }} as completion_tokens,
        {{ duckdb_number('total_tokens') }} as total_tokens,
        started_at,
        ended_at,
        updated_at,
        coalesce(created_at, updated_at) as landed_at,
        coalesce(nullif(model, ''), names[13]) as model,
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
        case when tags_type = 'ARRAY' then request_tags end as request_tags,
        case when try(json_type({{ duckdb_json_document('names[12]') }})) = 'OBJECT' then {{ duckdb_json_document('names[12]') }} end
            as spend_logs_metadata,
        source_file,
        read_problem,
        started_at is null and not {{ is_one_of('trim(start_text)', no_document_texts() + ['NaT']) }} as has_unreadable_start,
        has_unreadable_metadata,
        has_unreadable_tags
    from named
{% endmacro %}


{% macro spark__raw_spend_logs(spend_logs) %}
    {%- set path = spend_log_path() -%}
    {%- set names = [
        'user_api_key', 'user_api_key_hash', 'user_api_key_user_id', 'user_api_key_team_id', 'user_api_key_org_id',
        'user_api_key_project_id', 'user_api_key_project_alias', 'user_api_key_team_alias', 'user_api_key_user_email',
        'user_api_key_alias', 'user_api_key_org_alias', 'spend_logs_metadata', 'batch_models',
    ] -%}
    {%- do stop_unless_utc() -%}
    with

    rows_as_text as (
        {{ spark_spend_log_files(path) | join('\nunion all\n') or spark_select_fields(
            {}, '(select 1) as nothing where false', 'cast(null as string)', 'cast(null as string)'
        ) }}
    ),

    timed as (
        select
            *,
            transform(
                array(trim(started_at_text), trim(ended_at_text), trim(created_at_text), trim(updated_at_text)),
                text -> {{ spark_utc_timestamp() }}
            ) as times
        from rows_as_text
    ),

    documents as (
        select
            * except (metadata, request_tags, started_at, ended_at, created_at, updated_at),
            -- Cut to the millisecond as LiteLLM's timestamp(3) is.
            {%- for name in file_fields()['time'] %}
            date_trunc('millisecond', coalesce({{ name }}, times[{{ loop.index0 }}])) as {{ name }},
            {%- endfor %}
            {{ spark_json_document('request_tags') }} as tags,
            {{ spark_json_document('metadata') }} as metadata,
            not {{ is_one_of('trim(request_tags)', no_document_texts()) }} as has_tags,
            not {{ is_one_of('trim(metadata)', no_document_texts()) }} as has_metadata
        from timed
    ),

    typed as (
        select
            *,
            {{ spark_json_type('tags') }} as tags_type,
            {{ spark_json_type('metadata') }} as metadata_type
        from documents
    ),

    named as (
        select
            * except (metadata),
            has_metadata and not {{ is_one_of("coalesce(metadata, 'none')", no_document_texts()) }}
            and coalesce(metadata_type, '') not in ('OBJECT', 'VOID') as has_unreadable_metadata,
            has_tags and not {{ is_one_of("coalesce(tags, 'none')", no_document_texts()) }}
            and coalesce(tags_type, '') not in ('ARRAY', 'VOID') as has_unreadable_tags,
            -- One pass over the document for all names.
            from_json(case when metadata_type = 'OBJECT' then metadata end, '{{ names | join(' string, ') }} string') as names
        from typed
    )

    select
        coalesce(request_id, id) as request_id,
        call_type,
        coalesce(nullif(api_key, ''), names.user_api_key, names.user_api_key_hash) as api_key,
        coalesce({{ spark_number('spend') }}, {{ spark_number('response_cost') }}) as spend,
        {{ spark_number('prompt_tokens') }} as prompt_tokens,
        {{ spark_number('completion_tokens') }} as completion_tokens,
        {{ spark_number('total_tokens') }} as total_tokens,
        started_at,
        ended_at,
        updated_at,
        coalesce(created_at, updated_at) as landed_at,
        coalesce(nullif(model, ''), from_json(names.batch_models, 'array<string>')[0]) as model,
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
        case when tags_type = 'ARRAY' then tags end as request_tags,
        case
            when {{ spark_json_type(spark_json_document('names.spend_logs_metadata')) }} = 'OBJECT'
                then {{ spark_json_document('names.spend_logs_metadata') }}
        end as spend_logs_metadata,
        source_file,
        read_problem,
        started_at is null and not {{ is_one_of('trim(started_at_text)', no_document_texts() + ['NaT']) }} as has_unreadable_start,
        has_unreadable_metadata,
        has_unreadable_tags
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
