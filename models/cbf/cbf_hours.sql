-- One row per UTC hour of cbf_lines. Two hours with the same fingerprint hold the same lines, on every engine.
with

lines as (
    select * from {{ ref('cbf_lines') }}
),

-- An absent value adds nothing, so a column that is new and empty changes no fingerprint.
hashed as (
    select
        {{ cbf_column('time/usage_start') }} as usage_hour,
        {{ cbf_column('cost/cost') }} as cost_usd,
        {{ cbf_column('usage/amount') }} as total_tokens,
        {{ dbt.hash(line_text()) }} as line_hash
    from lines
),

final as (
    select
        usage_hour,
        cast(count(*) as {{ dbt.type_bigint() }}) as line_count,
        cast(sum(cost_usd) as {{ usd_type() }}) as cost_usd,
        cast(sum(total_tokens) as {{ dbt.type_bigint() }}) as total_tokens,
        {{ dbt.hash(ordered_concatenation('line_hash')) }} as fingerprint
    from hashed
    group by usage_hour
)

select * from final
