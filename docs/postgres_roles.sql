-- The least rights that dbt and the loader need on PostgreSQL. Run as the owner of LiteLLM's tables, with psql, in
-- LiteLLM's database. Schema public is LiteLLM's, schema cbf is ours; give passwords with \password.

-- 1. Before the first dbt build.
-- litellm_cbf runs dbt. It reads the columns that the models name and no others: no prompt, no answer, no key.
-- (Leave out a column that an older LiteLLM does not have.)
create role litellm_cbf login;
create schema cbf authorization litellm_cbf;
grant usage on schema public to litellm_cbf;
grant select (
    request_id, call_type, api_key, spend, total_tokens, prompt_tokens, completion_tokens, "startTime", "endTime",
    model, model_group, custom_llm_provider, "user", team_id, end_user, metadata, request_tags, status,
    organization_id, agent_id, created_at, updated_at
) on public."LiteLLM_SpendLogs" to litellm_cbf;
grant select (team_id, team_alias, organization_id) on public."LiteLLM_TeamTable" to litellm_cbf;
grant select (team_id, team_alias, organization_id) on public."LiteLLM_DeletedTeamTable" to litellm_cbf;
grant select (user_id, user_email, user_alias) on public."LiteLLM_UserTable" to litellm_cbf;
grant select (token, key_alias) on public."LiteLLM_VerificationToken" to litellm_cbf;
grant select (token, key_alias) on public."LiteLLM_DeletedVerificationToken" to litellm_cbf;
grant select (organization_id, organization_alias) on public."LiteLLM_OrganizationTable" to litellm_cbf;
grant select (date, spend) on public."LiteLLM_DailyUserSpend" to litellm_cbf;
grant select (date, spend, ptu_flat_cost) on public."LiteLLM_DailyTeamSpend" to litellm_cbf;

-- litellm_cbf_loader runs the loader: it reads what dbt made. A run of dbt makes views anew, so the right to read them
-- is given in advance.
create role litellm_cbf_loader login;
grant usage on schema cbf to litellm_cbf_loader;
alter default privileges for role litellm_cbf in schema cbf grant select on tables to litellm_cbf_loader;

-- 2. After the first dbt build: the loader may add to the push log, and change nothing in it.
grant insert on cbf.push_log to litellm_cbf_loader;
