{% test whole_hour(model, column_name) %}
-- A time that is not the start of an hour would be put into an hour of CloudZero's choosing.
{%- set column = column_name if adapter.quote('')[0] in column_name else adapter.quote(column_name) %}
select {{ column }}
from {{ model }}
where {{ column }} <> {{ dbt.date_trunc('hour', column) }}
{% endtest %}
