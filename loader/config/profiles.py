"""The dbt target, read from dbt's own profiles.yml.

The file is parsed here rather than by dbt, whose import alone takes seconds. File, profile, target and variables are
chosen as dbt does (docs.getdbt.com/docs/core/connect-data-platform/connection-profiles).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loader.errors import ConfigurationError

DEFAULT_PROFILE = "litellm_cbf"
NAME = r"[\w$-]{1,63}"  # of a schema; as the macro name_pattern has it


@dataclass(frozen=True)
class Target:
    """One output of a dbt profile, with its `env_var()` calls rendered.

    `options` are all keys of the output. They can contain a password, so they are left out of the repr. `profile` is
    the name of its profile; `profiles_dir` and `project_dir` are the folders it was read from.
    """

    name: str
    type: str
    schema: str
    options: Mapping[str, Any] = field(repr=False)
    profile: str = DEFAULT_PROFILE
    profiles_dir: Path = Path()
    project_dir: Path = Path()


def read_target(
    profiles_dir: str | None,
    target: str | None,
    environ: Mapping[str, str] = os.environ,
    project_dir: Path = Path(),
) -> Target:
    """Read the dbt target.

    Args:
        profiles_dir: value of --profiles-dir. If None: DBT_PROFILES_DIR, then the project's folder, then ~/.dbt, as
            in dbt.
        target: value of --target. If None: DBT_TARGET, then the profile's default.
        environ: the environment variables, also for `env_var()`.
        project_dir: the folder of dbt_project.yml, which names the profile unless DBT_PROFILE does.

    Raises:
        ConfigurationError: the file, profile, target or an environment variable is missing, or the file is invalid.
    """
    path = _profiles_path(profiles_dir or environ.get("DBT_PROFILES_DIR"), project_dir)
    profile_name = environ.get("DBT_PROFILE") or _project_profile(project_dir)
    profile = _mapping(_read_yaml(path).get(profile_name))
    if profile is None:
        raise ConfigurationError(f"{path} has no profile {profile_name!r}: see profiles.example.yml for an example.")
    outputs = _mapping(profile.get("outputs")) or {}
    name = target or environ.get("DBT_TARGET") or str(_render(profile.get("target", "default"), environ, path))
    output = _mapping(outputs.get(name))
    if output is None:
        known = ", ".join(sorted(map(str, outputs))) or "none"
        raise ConfigurationError(f"{path} has no target {name!r} in profile {profile_name!r}; it has: {known}.")
    options = {key: _render(value, environ, path) for key, value in output.items()}
    if not options.get("type") or not options.get("schema"):
        raise ConfigurationError(f"{path}: target {name!r} needs a type and a schema.")
    if not re.fullmatch(NAME, str(options["schema"])):
        raise ConfigurationError(
            f"{path}: the schema of target {name!r} (DBT_SCHEMA) is not a valid name: {str(options['schema'])!r}. It"
            " must consist of letters, digits and _ $ -, and be at most 63 characters long."
        )
    return Target(name, str(options["type"]), str(options["schema"]), options, profile_name, path.parent, project_dir)


def _profiles_path(profiles_dir: str | None, project_dir: Path) -> Path:
    folders = [Path(profiles_dir)] if profiles_dir else [project_dir, Path.home() / ".dbt"]
    for folder in folders:
        if (folder / "profiles.yml").is_file():
            return folder / "profiles.yml"
    places = " or ".join(str(folder.resolve()) for folder in folders)
    raise ConfigurationError(
        f"No profiles.yml in {places}: run `make setup`, copy profiles.example.yml, or set its folder"
        " with --profiles-dir."
    )


def _project_profile(project_dir: Path) -> str:
    path = project_dir / "dbt_project.yml"
    return str(_read_yaml(path).get("profile", DEFAULT_PROFILE)) if path.is_file() else DEFAULT_PROFILE


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}.") from error
    except yaml.YAMLError as error:
        # Do not show the error itself: it can quote a line that contains a password.
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{place} is not valid YAML.") from error
    return _mapping(content) or {}


def _mapping(value: Any) -> dict[str, Any] | None:
    return value if isinstance(value, dict) else None


def _render(value: Any, environ: Mapping[str, str], path: Path) -> Any:
    """Render `{{ env_var('NAME', 'default') }}` in a value of a profile. dbt's as_… filters are accepted, as no-ops."""
    if isinstance(value, dict):
        return {key: _render(item, environ, path) for key, item in value.items()}
    if isinstance(value, list):
        return [_render(item, environ, path) for item in value]
    if not isinstance(value, str) or "{" not in value:
        return value

    from jinja2 import TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    def env_var(name: str, default: str | None = None) -> str:
        found = environ.get(name, default)
        if found is None:
            raise ConfigurationError(f"{path} needs the environment variable {name}, which is not set.")
        return found

    environment = SandboxedEnvironment()
    environment.globals["env_var"] = env_var
    environment.filters.update(dict.fromkeys(("as_number", "as_bool", "as_native", "as_text"), str))
    try:
        return environment.from_string(value).render()
    except (TemplateError, TypeError, ArithmeticError) as error:
        raise ConfigurationError(
            f"{path} contains a template that cannot be rendered: {type(error).__name__}."
        ) from error
