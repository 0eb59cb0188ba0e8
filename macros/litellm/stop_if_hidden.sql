{# Stops the run if PostgreSQL hides a part of one of LiteLLM's tables from this role: rows, by row-level security, or columns that it
   may not select. What is hidden would look as if it were not there. A policy that shows every row is none of these. Only PostgreSQL
   has such tables. #}
{% macro stop_if_hidden(relation, names) %}
    {%- set table = "to_regclass(" ~ sql_text(relation | string) ~ ")" -%}
    {%- set listed = [] -%}
    {%- for name in names -%}{%- do listed.append(sql_text(name)) -%}{%- endfor -%}
    {%- set query -%}
        with

        policies as (
            select
                policy.polpermissive as is_permissive,
                coalesce(pg_get_expr(policy.polqual, policy.polrelid), 'true') = 'true' as shows_all
            from pg_catalog.pg_policy as policy
            where
                policy.polrelid = {{ table }}
                and policy.polcmd in ('r', '*')
                and exists (
                    select 1 from unnest(policy.polroles) as named (role)
                    where named.role = 0 or pg_has_role(named.role, 'usage')
                )
        )

        select
            row_security_active({{ table }}::oid)
            and (
                not exists (select 1 from policies where is_permissive and shows_all)
                or exists (select 1 from policies where not is_permissive and not shows_all)
            ) as hides_rows,
            (
                select string_agg(attname, ', ' order by attname)
                from pg_catalog.pg_attribute
                where
                    attrelid = {{ table }}
                    and attnum > 0
                    and not attisdropped
                    and attname in ({{ listed | join(', ') }})
                    and not has_column_privilege(attrelid, attnum, 'select')
            ) as hidden_columns,
            current_user as role_name
    {%- endset -%}
    {%- set found = run_query(query).rows[0] -%}
    {%- if found['hides_rows'] -%}
        {{ exceptions.raise_compiler_error(
            "Row-level security hides rows of " ~ relation ~ " from the role " ~ found['role_name'] ~ ", so that their cost would be missing. To fix:"
            ~ " `create policy litellm_cbf on " ~ relation ~ " for select to " ~ found['role_name'] ~ " using (true)`, or give the role bypassrls."
        ) }}
    {%- elif found['hidden_columns'] -%}
        {{ exceptions.raise_compiler_error(
            "The role " ~ found['role_name'] ~ " may not read the column(s) " ~ found['hidden_columns'] ~ " of " ~ relation ~ ". To fix: grant select"
            ~ " on them; docs/postgres_roles.sql has all grants."
        ) }}
    {%- endif -%}
{% endmacro %}
