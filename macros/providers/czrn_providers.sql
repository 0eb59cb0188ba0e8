{# The providers that `names` cover, as a list of CZRN provider parts. A name is that of a CZRN (aws), LiteLLM's (bedrock_converse) or
   a cloud provider's (AWS), in any case. It covers every provider on the same bill: bedrock covers Amazon Bedrock and SageMaker.
   A name that is neither in the seed llm_providers nor in summed usage stops the run, because it would have no effect.
   In commands that query nothing, a name covers only itself. #}
{% macro czrn_providers(variable, names) %}
    {%- if names is string or names is mapping or names is not iterable -%}
        {{ exceptions.raise_compiler_error(
            "var " ~ variable ~ " is not valid: " ~ names ~ ". It must be a list of providers, such as [openai, bedrock]."
        ) }}
    {%- endif -%}
    {%- set known = known_providers() if names and is_run() else [] -%}
    {%- set found = [] -%}
    {%- for given in names -%}
        {%- if given is not string -%}
            {{ exceptions.raise_compiler_error("var " ~ variable ~ ": " ~ given ~ " is not the name of a provider. Quote it if it is text.") }}
        {%- endif -%}
        {%- set name = given | trim | lower -%}
        {%- set part = modules.re.sub('[^a-z0-9]+', '-', name).strip('-') -%}
        {%- set bills = [] -%}
        {%- for provider in known if name in [provider.litellm, provider.cloud] or part in [provider.czrn, provider.cloud] -%}
            {%- do bills.append(provider.cloud) -%}
        {%- endfor -%}
        {%- if is_run() and not bills and part not in summed_providers() -%}
            {{ exceptions.raise_compiler_error(
                "var " ~ variable ~ ": '" ~ given ~ "' is not a known provider. It must be one of: "
                ~ known | map(attribute='litellm') | unique | sort | join(', ') ~ "; or a cloud provider: "
                ~ known | map(attribute='cloud') | unique | sort | join(', ')
                ~ ". To fix: correct the name, or add the provider to seeds/llm_providers.csv."
            ) }}
        {%- endif -%}
        {%- do found.append(part) -%}
        {%- for provider in known if provider.cloud in bills -%}
            {%- do found.append(provider.czrn) -%}
        {%- endfor -%}
    {%- endfor -%}
    {{ return(found | unique | list) }}
{% endmacro %}

{# The rows of the seed llm_providers: `litellm`, `czrn` and `cloud`, in lower case. It is not a ref(), so that models and unit tests that
   filter by provider need not name it; the models upstream of them do. #}
{% macro known_providers() %}
    {%- set node = graph.nodes['seed.litellm_cbf.llm_providers'] -%}
    {%- set seed = load_relation(api.Relation.create(database=node.database, schema=node.schema, identifier=node.alias)) -%}
    {%- set providers = [] -%}
    {%- if seed is not none -%}
        {%- for row in run_query("select custom_llm_provider, czrn_provider, cloud_provider from " ~ seed).rows -%}
            {%- do providers.append({'litellm': row[0] | lower, 'czrn': row[1] | lower, 'cloud': row[2] | lower}) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(providers) }}
{% endmacro %}

{# The providers in the usage summed so far, as CZRN provider parts. #}
{% macro summed_providers() %}
    {%- set kept = load_kept_hours() -%}
    {{ return(run_query("select distinct provider from " ~ kept).columns[0].values() | list if kept is not none else []) }}
{% endmacro %}
