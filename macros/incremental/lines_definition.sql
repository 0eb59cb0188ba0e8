{# A digest of what makes the lines of summed usage: the definition of cbf_lines as it stands in the warehouse, and the
   text that a fingerprint is taken from. When it changes (another var, another version of this project), every hour
   has to be looked at again. #}
{% macro lines_definition() -%}
    {%- set definition = view_definition(ref('cbf_lines')) if is_run() else '' -%}
    {{ return(local_md5(definition ~ line_text())) }}
{%- endmacro %}
