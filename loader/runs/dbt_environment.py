"""Which variables of the environment dbt gets. Some would make it build less than the models, and end with success."""

from __future__ import annotations

from collections.abc import Mapping

# Not passed on to dbt, which does not need them.
SECRETS = ("CLOUDZERO_API_KEY", "LOADER_MASTER_KEY")
# dbt's own options that change which models are built, or from which rows. dbt reads each as DBT_… and as DBT_ENGINE_….
CHANGE_WHAT_IS_BUILT = frozenset(
    {
        "ARTIFACT_STATE_PATH",
        "DEFER",
        "DEFER_STATE",
        "DEFER_TO_STATE",
        "EMPTY",
        "EVENT_TIME_END",
        "EVENT_TIME_START",
        "EXCLUDE_RESOURCE_TYPES",
        "FAVOR_STATE",
        "FAVOR_STATE_MODE",
        "INDIRECT_SELECTION",
        "INTROSPECT",
        "RESOURCE_TYPES",
        "SAMPLE",
        "STATE",
    }
)
PREFIXES = ("DBT_ENGINE_", "DBT_")


def environment_of_dbt(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """The environment to run dbt in, and the names of the variables that were left out because of what they change."""
    changing = sorted(name for name, value in environ.items() if value and _changes_what_is_built(name))
    left_out = {*SECRETS, *(name for name in environ if _changes_what_is_built(name))}
    return {name: value for name, value in environ.items() if name not in left_out}, changing


def _changes_what_is_built(name: str) -> bool:
    return any(name.removeprefix(prefix) in CHANGE_WHAT_IS_BUILT for prefix in PREFIXES if name.startswith(prefix))
