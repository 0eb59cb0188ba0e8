"""Reads what is deployed: units, Dockerfile, manifests. Finds the tools that judge them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.project import BIN, ROOT

SYSTEMD, KUBERNETES, PROMETHEUS = (ROOT / "deploy" / name for name in ("systemd", "kubernetes", "prometheus"))


def tool(name: str) -> str:
    """The path of a tool. Where it is not there, the test is skipped; CI_REQUIRE_TOOLS=1 makes that a failure."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found:
        return found
    reason = f"{name} is not on this machine; .ci/run gets it"
    if os.environ.get("CI_REQUIRE_TOOLS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command, with what it said."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=600, **options)


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, continued lines joined."""

    word: str
    rest: str

    def list(self) -> list[str]:
        """The parts of an exec form."""
        parts: list[str] = json.loads(self.rest[self.rest.index("[") :])
        return parts


def dockerfile_stages() -> list[list[Instruction]]:
    """The instructions of each stage, FROM first; what stands before the first FROM is left out."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if line[:1] != "#")
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            instruction = Instruction(*line.split(maxsplit=1))
            if instruction.word == "FROM":
                stages.append([])
            if stages:
                stages[-1].append(instruction)
    return stages


def the(word: str) -> Instruction:
    """The one instruction of that word in the last stage."""
    (found,) = (each for each in dockerfile_stages()[-1] if each.word == word)
    return found


def image_environment() -> dict[str, str]:
    """What ENV of the last stage sets."""
    return dict(pair.split("=", 1) for pair in the("ENV").rest.split())


def copies(stage: list[Instruction]) -> Iterator[tuple[Path, str]]:
    """What a stage copies from the repository: source, and where to, below the WORKDIR."""
    for each in stage:
        if each.word == "COPY" and not each.rest.startswith("--from="):
            *sources, target = each.rest.split()
            for source in sources:
                yield Path(source), target if target != "./" else f"./{Path(source).name}"


def is_ignored(path: Path) -> bool:
    """Whether .dockerignore keeps this path from the builder: the last line that fits it or a folder above it wins.

    Knows what our file uses: `*`, `!name` and `**/name` (docs.docker.com/build/concepts/context/#dockerignore-files).
    """
    ignored = False
    above = [path, *path.parents][:-1]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        plain = pattern.removeprefix("**/")
        assert plain == "*" or not re.search(r"[*?\[]", plain), f"{line}: more than is_ignored knows"
        if plain == "*" or any(each.name == plain if plain != pattern else each == Path(plain) for each in above):
            ignored = not line.startswith("!")
    return ignored


def manifests() -> dict[str, dict[str, Any]]:
    """Every Kubernetes object, by its file's path; kustomizations too."""
    return {
        str(path.relative_to(KUBERNETES)): document
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    }


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod's spec in a Deployment or CronJob; None for what runs nothing."""
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    found: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return found


def restricted_faults(pod: dict[str, Any]) -> set[str]:
    """What the Pod Security Standard "restricted" has against a pod.

    kubernetes.io/docs/concepts/security/pod-security-standards/. Stricter in one thing: the root must be read-only.
    """
    faults = {name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)}
    allowed = {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
    faults |= {f"volume {kind}" for volume in pod.get("volumes", []) for kind in set(volume) - {"name"} - allowed}
    whole = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        merged = whole | own
        faults |= {"hostPort" for port in container.get("ports", []) if port.get("hostPort")}
        if merged.get("runAsNonRoot") is not True:
            faults.add("runAsNonRoot")
        if merged.get("runAsUser") == 0:
            faults.add("runAsUser")
        if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            faults.add("seccompProfile")
        if own.get("allowPrivilegeEscalation") is not False:
            faults.add("allowPrivilegeEscalation")
        if own.get("privileged"):
            faults.add("privileged")
        if own.get("readOnlyRootFilesystem") is not True:
            faults.add("readOnlyRootFilesystem")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            faults.add("capabilities")
    return faults


PODS = {path: pod for path, each in manifests().items() if (pod := pod_of(each))}
