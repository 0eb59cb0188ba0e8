{# A digest of what turns summed usage into lines: the definition of cbf_lines in the warehouse, and the text that a fingerprint is
   computed from. If it changes (another var, another version of this project), every hour must be fingerprinted again. #}
{% macro lines_definition() -%}
    {%- set definition = view_definition(ref('cbf_lines')) if is_run() else '' -%}
    {{ return(local_md5(definition ~ line_text())) }}
{%- endmacro %}
