-- One row per UTC hour whose row in cbf_hours was not built from the rows that int_usage__hourly holds now. No row is left after a complete run.
with

final as (
    {{ hours_that_differ(ref('int_usage__hourly'), ref('cbf_hours')) }}
)

select * from final
