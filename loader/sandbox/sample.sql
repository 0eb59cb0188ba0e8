-- From the row number to the request: run by sample.py in a database of its own, with the tables api_key and model.
-- 64 bits of an MD5. Not md5_number_lower(), which goes through text and takes four times as long.
create temp macro draw(purpose, n) as
(md5_number(concat(getvariable('seed'), purpose, n)) & 18446744073709551615::uhugeint)::ubigint;

-- One of 0 to ways - 1, from 16 of a draw's 64 bits.
create temp macro pick(bits, low, ways) as ((bits >> low) & 65535)::integer % ways;
-- The product of two draws: many small requests, few large ones; at most four times the mean.
create temp macro tokens(bits, low, mean) as
(1 + ((pick(bits, low, 4096) * pick(bits, low + 16, 4096) * mean) >> 22))::integer;

-- Each key or model is in its list as many times as its weight, so a random position is a weighted choice.
-- Lists and not tables, because a join would leave the rows of a file in any order.
set variable keys = (
    select list(struct_pack(*columns(* exclude (weight, turn))) order by key_number, turn)
    from (select rowid as key_number, unnest(range(weight)) as turn, * from api_key)
);
set variable models = (
    select
        list(struct_pack(
            call_type, custom_llm_provider := provider, model, model_group,
            model_id := md5(concat(getvariable('seed'), provider, model)),
            in_mean := in_mean::bigint, in_usd := in_usd::double,
            out_mean := out_mean::bigint, out_usd := out_usd::double,
            most_units := most_units::integer, unit_usd := unit_usd::double
        ) order by model_number, turn)
    from (select rowid as model_number, unnest(range(weight::integer)) as turn, * from model)
);

create temp table number (hour_ms bigint, n bigint);

create temp view request as
with

drawn as (
    select
        *, draw(':who:', n) as who, draw(':what:', n) as what, draw(':size:', n) as size,
        draw(':time:', n) as clock, draw(':fate:', n) as fate
    from number
),

keyed as (
    select *, getvariable('keys')[1 + pick(who, 0, len(getvariable('keys')))] as key
    from drawn
),

modelled as (
    select
        * exclude (key),
        unnest(key),
        -- Three of four requests go to the key's own few models, as programs do.
        getvariable('models')[1 + if(
            pick(what, 0, 4) = 0,
            pick(what, 16, len(getvariable('models'))),
            (key.key_number * 37 + pick(what, 16, 4) * 211) % len(getvariable('models'))
        )] as chosen
    from keyed
),

sized as (
    select
        * exclude (chosen),
        unnest(chosen),
        -- 3 % fail, one in eight of them after a part that has to be paid; 4 % come from the cache.
        pick(fate, 0, 1000) < 30 as is_failure,
        is_failure and pick(fate, 16, 8) > 0 as is_free_failure,
        pick(fate, 0, 1000) between 30 and 69 as is_cached,
        -- One request in fifty holds a document.
        if(is_free_failure or chosen.in_mean = 0, 0,
            tokens(size, 0, chosen.in_mean) * if(pick(fate, 32, 50) = 0, 20, 1)) as prompt_tokens,
        if(is_free_failure or chosen.out_mean = 0, 0, tokens(size, 32, chosen.out_mean)) as completion_tokens,
        if(chosen.most_units = 0, 0, 1 + pick(size, 0, chosen.most_units)) as units
    from modelled
),

timed as (
    select
        *,
        hour_ms + (clock & 4294967295)::bigint % 3600000 as start_ms,
        -- The cache answers at once; one request in a hundred streams for up to a quarter of an hour, but
        -- none in the last hour: it would end after now.
        start_ms + case
            when is_cached then 5 + pick(clock, 32, 60)
            when pick(fate, 48, 100) = 0 and hour_ms + 3600000 < getvariable('end_ms')
                then 30000 + 13 * pick(clock, 32, 65536)
            else 150 + pick(clock, 32, 1500) + completion_tokens * (6 + pick(fate, 48, 20))
        end as end_ms,
        end_ms + 5000 + pick(clock, 48, 85000) as usual_ms,
        -- One row in 300 lands up to 18 hours late, but for those that would have to come from the future.
        usual_ms + 1000 * pick(who, 48, 65536) as late_ms,
        if(pick(what, 48, 300) = 0 and late_ms < getvariable('end_ms'), late_ms, usual_ms) as landed_ms
    from sized
)

select
    *,
    'sample-' || md5(concat(getvariable('seed'), ':id:', n)) as request_id,
    if(is_cached or is_free_failure, 0,
        prompt_tokens * in_usd + completion_tokens * out_usd + units * unit_usd) as spend,
    prompt_tokens + completion_tokens as total_tokens,
    if(is_failure, 'failure', 'success') as status,
    case when is_failure then 'None' when is_cached then 'True' else 'False' end as cache_hit,
    case when user_id is null and team_id is not null and pick(who, 16, 2) = 0
        then printf('customer-%03d', pick(who, 32, 400)) end as end_user,
    case when pick(who, 16, 5) > 0 then md5(concat(getvariable('seed'), token, n >> 6)) end as session_id,
    case
        when environment is null or pick(what, 32, 20) = 0 then []
        when pick(what, 32, 20) = 1 then ['env:' || environment, 'priority:high']
        else ['env:' || environment, 'app:' || coalesce(app, 'chat')]
    end as request_tags,
    {
        user_api_key_alias: key_alias,
        user_api_key_team_alias: team_alias,
        user_api_key_user_email: user_email,
        user_api_key_user_id: user_id,
        user_api_key_org_id: organization_id,
        user_api_key_project_id: project_id,
        user_api_key_project_alias: project_alias,
        usage_object: {
            prompt_tokens: prompt_tokens,
            completion_tokens: completion_tokens,
            total_tokens: total_tokens,
            prompt_tokens_details: {cached_tokens: prompt_tokens * pick(fate, 16, 4) // 8},
            completion_tokens_details: {
                reasoning_tokens: if(model_group = 'reasoning', completion_tokens // 2, 0)
            }
        },
        spend_logs_metadata: case when cost_center is not null then {
            cost_center: cost_center,
            feature: ['answer', 'summary', 'classify', 'extract', 'rewrite'][1 + pick(what, 32, 5)]
        } end
    } as metadata
from timed;

create temp view spend_log as
select
    request_id, call_type, token as api_key, spend, total_tokens, prompt_tokens, completion_tokens,
    make_timestamp_ms(start_ms) as "startTime", make_timestamp_ms(end_ms) as "endTime",
    make_timestamp_ms(landed_ms) as created_at, created_at as updated_at,
    model, model_id, model_group, custom_llm_provider, coalesce(user_id, '') as "user",
    team_id, organization_id, end_user, metadata, request_tags, status, cache_hit, session_id, agent_id
from request;

create temp view payload as
select
    request_id as id, call_type, spend as response_cost, total_tokens, prompt_tokens, completion_tokens,
    start_ms / 1000::double as "startTime", end_ms / 1000::double as "endTime",
    model, model_id, model_group, custom_llm_provider, status, end_user, request_tags,
    case cache_hit when 'True' then true when 'False' then false end as cache_hit, session_id, agent_id,
    struct_insert(
        metadata,
        user_api_key_hash := token,
        user_api_key_team_id := team_id,
        user_api_key_org_alias := organization_alias
    ) as metadata
from request;

create temp view flat_spend_log as
select * replace (to_json(metadata)::varchar as metadata, to_json(request_tags)::varchar as request_tags)
from spend_log;
