-- Logins for dbt and the loader on PostgreSQL, with the least rights they need. In LiteLLM's database:
--
--     psql --set=ON_ERROR_STOP=1 --dbname=litellm --file=docs/postgres_roles.sql
--
-- Run it before the first `dbt build`, and once more after it: the second run grants the right to write the push log,
-- which `dbt build` creates. It can be run at any time, also after an upgrade of LiteLLM.
--
-- No superuser is needed. The role that runs it needs CREATEROLE, CREATE on the database, and ownership of LiteLLM's
-- tables; membership in the roles that own the database and the tables will do.
--
-- Schema public is LiteLLM's and schema cbf is this project's: for other names, replace them here, and set the var
-- litellm_schema and DBT_SCHEMA. Then give both logins a password, in psql with \password.

-- litellm_cbf runs dbt, and every command that runs dbt: `loader run`, `loader serve` and `loader load`. It owns
-- schema cbf, so it can also run all other commands. Of LiteLLM's tables it reads the columns listed here and no
-- others: no prompt and no response, and of virtual keys only LiteLLM's hash.
do $$
begin
    if to_regclass('public."LiteLLM_SpendLogs"') is null then
        raise exception 'There is no table public."LiteLLM_SpendLogs" in database %: connect to LiteLLM''s database.',
            current_database();
    end if;
    if not exists (select from pg_roles where rolname = 'litellm_cbf') then
        create role litellm_cbf login;
    end if;
    -- From PostgreSQL 16 on, whoever creates a role is not yet a member of it, as the next statements require.
    if not pg_has_role(current_user, 'litellm_cbf', 'usage') then
        grant litellm_cbf to current_user;
    end if;
end
$$;

create schema if not exists cbf authorization litellm_cbf;
grant usage on schema public to litellm_cbf;

do $$
declare
    wanted record;
    present text;
begin
    for wanted in
        select *
        from (
            values
            ('LiteLLM_SpendLogs', array[
                'request_id', 'call_type', 'api_key', 'spend', 'total_tokens', 'prompt_tokens', 'completion_tokens',
                'startTime', 'endTime', 'model', 'model_group', 'custom_llm_provider', 'user', 'team_id', 'end_user',
                'metadata', 'request_tags', 'status', 'organization_id', 'agent_id', 'created_at', 'updated_at'
            ]),
            ('LiteLLM_TeamTable', array['team_id', 'team_alias', 'organization_id']),
            ('LiteLLM_DeletedTeamTable', array['team_id', 'team_alias', 'organization_id']),
            ('LiteLLM_UserTable', array['user_id', 'user_email', 'user_alias']),
            ('LiteLLM_VerificationToken', array['token', 'key_alias']),
            ('LiteLLM_DeletedVerificationToken', array['token', 'key_alias']),
            ('LiteLLM_OrganizationTable', array['organization_id', 'organization_alias']),
            ('LiteLLM_DailyUserSpend', array['date', 'spend']),
            ('LiteLLM_DailyTeamSpend', array['date', 'spend', 'ptu_flat_cost']),
            ('LiteLLM_SubscriptionAccountTable', array['monthly_fee'])
        ) as list (table_name, column_names)
    loop
        -- An older LiteLLM lacks some of these columns and tables.
        select string_agg(quote_ident(attname), ', ')
        into present
        from pg_attribute
        where
            attrelid = to_regclass(format('public.%I', wanted.table_name))
            and attname = any(wanted.column_names)
            and not attisdropped;
        if present is not null then
            execute format('grant select (%s) on public.%I to litellm_cbf', present, wanted.table_name);
        end if;
    end loop;
end
$$;

-- litellm_cbf_loader is for a schedule that runs dbt and the loader apart, each with its own login. It runs `dry-run`,
-- `push`, `status`, `verify`, `validate` and `check`: it reads what dbt made, adds to the push log, and changes nothing.
-- dbt recreates its views in each run, so the right to read them is granted in advance.
do $$
begin
    if not exists (select from pg_roles where rolname = 'litellm_cbf_loader') then
        create role litellm_cbf_loader login;
    end if;
end
$$;

grant usage on schema cbf to litellm_cbf_loader;
grant select on all tables in schema cbf to litellm_cbf_loader;
alter default privileges for role litellm_cbf in schema cbf grant select on tables to litellm_cbf_loader;

do $$
begin
    if to_regclass('cbf.push_log') is null then
        raise notice 'After the first `dbt build`, run this file again: it lets litellm_cbf_loader write cbf.push_log.';
    else
        grant insert on cbf.push_log to litellm_cbf_loader;
    end if;
end
$$;
