{% test one_value_per_tag(model) %}
-- CloudZero keeps one value for each resource and tag. One line per hour and resource gives each tag one value there.
select
    {{ cbf_column('time/usage_start') }} as usage_hour,
    {{ cbf_column('resource/id') }} as resource_id,
    count(*) as line_count
from {{ model }}
group by {{ cbf_column('time/usage_start') }}, {{ cbf_column('resource/id') }}
having count(*) > 1
{% endtest %}
