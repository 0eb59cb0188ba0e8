"""Shares dbt's partial parse file between projects, because parsing takes half of the time of a dbt command.

dbt reuses its saved manifest if vars, version, project and connection are unchanged. In these tests only the connection
differs, as each test has a warehouse of its own. So the cached file is reused with the database name replaced.
"""

from __future__ import annotations

import hashlib
import os
import pprint
from pathlib import Path
from typing import Any

CACHE = "TESTS_PARSED"  # the environment variable with the folder of the cache
FILE = "partial_parse.msgpack"
# Settings that differ between the tests' connections. Of these only the database name is part of the parsed file.
PER_TEST_SETTINGS = ("path", "database", "host", "port", "user")


def use_shared_cache(folder: Path) -> None:
    """Make dbt in this process read its partial parse file from this folder, and save it there."""
    from dbt.parser.manifest import ManifestLoader

    check: Any = ManifestLoader.build_manifest_state_check
    write: Any = ManifestLoader.write_manifest_for_partial_parse

    def check_and_load(self: Any) -> Any:
        state = check(self)
        target = Path(self.root_project.project_target_path) / FILE
        for cached in folder.glob(f"{_key(self, state)} *"):
            _, profile, database = cached.name.split(" ")
            own = self.root_project.credentials.database
            if len(database) == len(own):
                parsed = cached.read_bytes().replace(profile.encode(), state.profile_hash.checksum.encode())
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(parsed.replace(database.encode(), own.encode()))
        return state

    def write_and_share(self: Any) -> None:
        write(self)
        state, database = self.manifest.state_check, self.root_project.credentials.database
        key = _key(self, state)
        if any(folder.glob(f"{key} *")):
            return
        parsed = folder / f"{os.getpid()}.part"
        parsed.write_bytes((Path(self.root_project.project_target_path) / FILE).read_bytes())
        parsed.rename(folder / f"{key} {state.profile_hash.checksum} {database}")

    ManifestLoader.build_manifest_state_check = check_and_load  # type: ignore[method-assign]
    ManifestLoader.write_manifest_for_partial_parse = write_and_share  # type: ignore[method-assign]


def _key(loader: Any, state: Any) -> str:
    connection = sorted(
        item for item in loader.root_project.credentials.connection_info() if item[0] not in PER_TEST_SETTINGS
    )
    key = pprint.pformat(connection) + state.vars_hash.checksum + state.project_env_vars_hash.checksum
    return hashlib.sha256(key.encode()).hexdigest()
