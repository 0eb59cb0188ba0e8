{% test matches_czrn(model, column_name) %}
-- CloudZero's own pattern: `^czrn:([a-z0-9-]+):([a-zA-Z0-9-]+):([a-z0-9-]+):([a-z0-9-]+):([a-z0-9-]+):(.+)$`
{%- set column = column_name if adapter.quote('')[0] in column_name else adapter.quote(column_name) %}
{%- set pattern = '^czrn:[a-z0-9-]+:[a-zA-Z0-9-]+:[a-z0-9-]+:[a-z0-9-]+:[a-z0-9-]+:[^\\x01-\\x1f]+$' %}
select {{ column }}
from {{ model }}
where {{ column }} is null or {{ regexp_replace_all(column, pattern, '') }} <> ''
{% endtest %}
