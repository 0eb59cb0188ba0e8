"""Lets one process of dbt begin with what another has parsed, as dbt itself does between two runs: parsing is half of a run.

dbt takes its saved manifest when vars, version, project and connection are the same. Here each test has a warehouse of
its own, so that only the connection differs. What is cached for one is given to the next with its own database's name.
"""

from __future__ import annotations

import hashlib
import os
import pprint
from pathlib import Path
from typing import Any

CACHE = "TESTS_PARSED"  # the environment's name of a folder
FILE = "partial_parse.msgpack"
OWN = ("path", "database", "host", "port", "user")  # of a connection; what is parsed holds the database's name alone


def share(folder: Path) -> None:
    """Have dbt in this process take what it parses from this folder, and leave it there."""
    from dbt.parser.manifest import ManifestLoader

    check: Any = ManifestLoader.build_manifest_state_check
    write: Any = ManifestLoader.write_manifest_for_partial_parse

    def check_and_take(self: Any) -> Any:
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

    def write_and_leave(self: Any) -> None:
        write(self)
        state, database = self.manifest.state_check, self.root_project.credentials.database
        key = _key(self, state)
        if any(folder.glob(f"{key} *")):
            return
        parsed = folder / f"{os.getpid()}.part"
        parsed.write_bytes((Path(self.root_project.project_target_path) / FILE).read_bytes())
        parsed.rename(folder / f"{key} {state.profile_hash.checksum} {database}")

    ManifestLoader.build_manifest_state_check = check_and_take  # type: ignore[method-assign]
    ManifestLoader.write_manifest_for_partial_parse = write_and_leave  # type: ignore[method-assign]


def _key(loader: Any, state: Any) -> str:
    connection = sorted(item for item in loader.root_project.credentials.connection_info() if item[0] not in OWN)
    said = pprint.pformat(connection) + state.vars_hash.checksum + state.project_env_vars_hash.checksum
    return hashlib.sha256(said.encode()).hexdigest()
