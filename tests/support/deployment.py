"""Reads the deployment files (Dockerfile, manifests), and finds the tools that check them."""

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
    """The path of a tool. If it is not installed, the test is skipped; with CI_REQUIRE_TOOLS=1 it fails."""
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}")
    if found:
        return found
    reason = f"{name} is not installed; .ci/run installs it"
    if os.environ.get("CI_REQUIRE_TOOLS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def run(*command: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a command and capture its output."""
    return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=600, **options)


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile, with continuation lines joined."""

    name: str
    arguments: str

    def list(self) -> list[str]:
        """The arguments of the exec form, a JSON array."""
        parts: list[str] = json.loads(self.arguments[self.arguments.index("[") :])
        return parts


def dockerfile_stages() -> list[list[Instruction]]:
    """The instructions of each stage, starting with FROM. Instructions before the first FROM are left out."""
    text = "\n".join(line for line in (ROOT / "Dockerfile").read_text("utf-8").splitlines() if line[:1] != "#")
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", " ", text).splitlines():
        if line.strip():
            found = Instruction(*line.split(maxsplit=1))
            if found.name == "FROM":
                stages.append([])
            if stages:
                stages[-1].append(found)
    return stages


def instruction(name: str) -> Instruction:
    """The only instruction of this name in the last stage."""
    (found,) = (each for each in dockerfile_stages()[-1] if each.name == name)
    return found


def image_environment() -> dict[str, str]:
    """The variables that ENV of the last stage sets."""
    return dict(pair.split("=", 1) for pair in instruction("ENV").arguments.split())


def copies(stage: list[Instruction]) -> Iterator[tuple[Path, str]]:
    """What a stage copies from the repository: source, and target relative to WORKDIR."""
    for each in stage:
        if each.name == "COPY" and not each.arguments.startswith("--from="):
            *sources, target = each.arguments.split()
            for source in sources:
                yield Path(source), target if target != "./" else f"./{Path(source).name}"


def is_ignored(path: Path) -> bool:
    """Whether .dockerignore excludes this path. The last line that matches it or one of its parents decides.

    Supports only what our file uses: `*`, `!name` and `**/name` (docs.docker.com/build/concepts/context/#dockerignore-files).
    """
    ignored = False
    above = [path, *path.parents][:-1]
    for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines():
        if not line or line.startswith("#"):
            continue
        pattern = line.removeprefix("!")
        plain = pattern.removeprefix("**/")
        assert plain == "*" or not re.search(r"[*?\[]", plain), f"{line}: is_ignored does not support this pattern"
        if plain == "*" or any(each.name == plain if plain != pattern else each == Path(plain) for each in above):
            ignored = not line.startswith("!")
    return ignored


def manifests() -> dict[str, dict[str, Any]]:
    """Every Kubernetes object, including kustomizations, by the path of its file."""
    return {
        str(path.relative_to(KUBERNETES)): document
        for path in sorted(KUBERNETES.rglob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    }


def pod_of(manifest: dict[str, Any]) -> dict[str, Any] | None:
    """The pod spec of a Deployment or CronJob; None for objects without pods."""
    spec = manifest.get("spec", {})
    spec = spec.get("jobTemplate", {}).get("spec", spec)
    found: dict[str, Any] | None = spec.get("template", {}).get("spec")
    return found


def restricted_violations(pod: dict[str, Any]) -> set[str]:
    """The violations of the Pod Security Standard "restricted" by a pod.

    kubernetes.io/docs/concepts/security/pod-security-standards/. In addition, the root filesystem must be read-only.
    """
    violations = {name for name in ("hostNetwork", "hostPID", "hostIPC") if pod.get(name)}
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
    violations |= {f"volume {kind}" for volume in pod.get("volumes", []) for kind in set(volume) - {"name"} - allowed}
    of_pod = pod.get("securityContext", {})
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        own = container.get("securityContext", {})
        merged = of_pod | own
        violations |= {"hostPort" for port in container.get("ports", []) if port.get("hostPort")}
        if merged.get("runAsNonRoot") is not True:
            violations.add("runAsNonRoot")
        if merged.get("runAsUser") == 0:
            violations.add("runAsUser")
        if merged.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            violations.add("seccompProfile")
        if own.get("allowPrivilegeEscalation") is not False:
            violations.add("allowPrivilegeEscalation")
        if own.get("privileged"):
            violations.add("privileged")
        if own.get("readOnlyRootFilesystem") is not True:
            violations.add("readOnlyRootFilesystem")
        capabilities = own.get("capabilities", {})
        if "ALL" not in capabilities.get("drop", []) or set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            violations.add("capabilities")
    return violations


PODS = {path: pod for path, each in manifests().items() if (pod := pod_of(each))}
