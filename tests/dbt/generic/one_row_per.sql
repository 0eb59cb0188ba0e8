-- No two rows have the same values in these columns. `with_custom_dimensions` adds the columns of custom dimensions, which depend
-- on var line_dimensions.
{% test one_row_per(model, columns, with_custom_dimensions=false) %}
{%- set all_columns = columns | list %}
{%- if with_custom_dimensions and is_run() %}
{%- for name in adapter.get_columns_in_relation(model) | map(attribute='name') if name.startswith('tag__') or name.startswith('metadata__') %}
{%- do all_columns.append(name) %}
{%- endfor %}
{%- endif %}

select
    {{ all_columns | join(',\n    ') }},
    count(*) as row_count
from {{ model }}
group by {{ all_columns | join(', ') }}
having count(*) > 1

{% endtest %}
