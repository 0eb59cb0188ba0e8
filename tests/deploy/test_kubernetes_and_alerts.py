"""Checks the manifests with Kubernetes' schemas and security standard, and the alerts with promtool and their tests."""

from __future__ import annotations

import copy
import re
import subprocess
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import deployment
from tests.support.deployment import KUBERNETES, PODS, PROMETHEUS, instruction, run, tool

# The metrics of `loader serve`; the alerts may not use others.
METRICS = {
    "litellm_cbf_sent_cost_usd_total",
    "litellm_cbf_sent_lines_total",
    "litellm_cbf_sent_bytes_total",
    "litellm_cbf_pending_hours",
    "litellm_cbf_oldest_pending_age_seconds",
    "litellm_cbf_last_success_timestamp_seconds",
    "litellm_cbf_last_run_timestamp_seconds",
    "litellm_cbf_runs_total",
    "litellm_cbf_anycost_requests_total",
    "litellm_cbf_month_bytes",
    "litellm_cbf_month_rows",
    "litellm_cbf_month_limit_bytes",
    "litellm_cbf_month_limit_rows",
    "litellm_cbf_models_built_timestamp_seconds",
    "litellm_cbf_rejected_requests",
    "litellm_cbf_rejected_cost_usd",
    "litellm_cbf_warned_requests",
    "litellm_cbf_merged_spend_logs",
    "litellm_cbf_merged_cost_usd",
    "litellm_cbf_spend_log_files",
    "litellm_cbf_started_timestamp_seconds",
}


@pytest.mark.parametrize("version", ["1.27.0", "1.37.0"])
def test_manifests_are_valid(version: str) -> None:
    import kubernetes_validate

    for path, manifest in deployment.manifests().items():
        if manifest["kind"] != "Kustomization":
            kubernetes_validate.validate(manifest, version, strict=True)
            suffix = {"base/build.yaml": "-build", "base/verify.yaml": "-verify"}.get(path, "")
            assert manifest["metadata"]["name"] == f"litellm-cbf{suffix}", path
            with pytest.raises(kubernetes_validate.ValidationError):
                kubernetes_validate.validate(manifest | {"spce": {}}, version, strict=True)


def test_every_manifest_is_applied_by_a_kustomization() -> None:
    named: set[Path] = set()
    for path, manifest in deployment.manifests().items():
        if manifest["kind"] == "Kustomization":
            named |= {(KUBERNETES / path).parent.joinpath(each).resolve() for each in manifest["resources"]}
    assert {each for each in named if each.is_file()} == {
        path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"
    }
    assert {each.name for each in named if each.is_dir()} == {"base"}


@pytest.mark.parametrize(
    ("overlay", "path"),
    [(overlay, path) for overlay in ("cronjob", "serve") for path in PODS if path.startswith((overlay, "base"))],
)
def test_dbt_vars_can_be_switched_on(overlay: str, path: str) -> None:
    """The commented lines of the kustomization, as kustomize applies them: RFC 6902, paths that end in a list."""
    import kubernetes_validate

    text = (KUBERNETES / overlay / "kustomization.yaml").read_text("utf-8")
    switched_on = yaml.safe_load(text[: text.index("# dbt vars")] + re.sub("(?m)^#", "", text[text.index("#config") :]))
    (generator,) = switched_on["configMapGenerator"]
    manifest = copy.deepcopy(deployment.manifests()[path])
    (patch,) = [each for each in switched_on["patches"] if each["target"] == {"kind": manifest["kind"]}]
    for step in yaml.safe_load(patch["patch"]):
        *parts, last = step["path"].strip("/").split("/")
        place: Any = manifest
        for part in parts:
            place = place[int(part) if isinstance(place, list) else part]
        assert (step["op"], last) == ("add", "-")
        place.append(step["value"])
    kubernetes_validate.validate(manifest, "1.37.0", strict=True)
    pod = deployment.pod_of(manifest)
    assert pod is not None
    assert deployment.restricted_violations(pod) == set()
    assert pod["volumes"][-1]["configMap"]["name"] == generator["name"]
    mount = pod["containers"][0]["volumeMounts"][-1]
    assert [mount["subPath"]] == generator["files"] == ["dbt_project.yml"]
    assert mount["mountPath"] == "/app/dbt_project.yml"


def test_cronjobs_and_a_deployment_run_the_loader_and_dbt() -> None:
    assert sorted(PODS) == ["base/build.yaml", "base/verify.yaml", "cronjob/cronjob.yaml", "serve/deployment.yaml"]


def test_the_weekly_job_verifies_both_months_and_fails_if_either_differs(tmp_path: Path) -> None:
    (container,) = PODS["base/verify.yaml"]["containers"]
    log = tmp_path / "months"
    loader = tmp_path / "loader"
    loader.write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$(wc -l < {log})" -eq 2 ] || exit 6\n')
    loader.chmod(0o755)
    ended = subprocess.run(
        [*container["command"], *container["args"]], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, check=False
    )
    assert ended.returncode == 6
    now = datetime.now(timezone.utc)
    last = now.replace(day=1) - timedelta(days=1)
    assert log.read_text().splitlines() == [f"verify --month {last:%Y-%m}", f"verify --month {now:%Y-%m}"]


@pytest.mark.parametrize("path", PODS)
def test_pods_conform_to_the_restricted_standard(path: str) -> None:
    assert deployment.restricted_violations(PODS[path]) == set()
    assert PODS[path]["automountServiceAccountToken"] is False
    changes: dict[str, Callable[[Any, Any], Any]] = {
        "runAsNonRoot": lambda pod, _: pod["securityContext"].pop("runAsNonRoot"),
        "seccompProfile": lambda pod, _: pod["securityContext"].pop("seccompProfile"),
        "allowPrivilegeEscalation": lambda _, own: own.pop("allowPrivilegeEscalation"),
        "readOnlyRootFilesystem": lambda _, own: own.pop("readOnlyRootFilesystem"),
        "capabilities": lambda _, own: own.pop("capabilities"),
        "privileged": lambda _, own: own.update(privileged=True),
        "hostNetwork": lambda pod, _: pod.update(hostNetwork=True),
        "volume hostPath": lambda pod, _: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    }
    for violation, change in changes.items():
        pod = copy.deepcopy(PODS[path])
        change(pod, pod["containers"][0]["securityContext"])
        assert deployment.restricted_violations(pod) == {violation}


@pytest.mark.parametrize("path", PODS)
def test_pods_match_the_image(path: str) -> None:
    pod = PODS[path]
    (container,) = pod["containers"]
    assert (
        f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" == instruction("USER").arguments
    )
    assert pod["terminationGracePeriodSeconds"] >= 150
    # The root filesystem is read-only: everything is written to volumes.
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert set(mounts.values()) == {each["name"] for each in pod["volumes"]}
    for name in ("HOME", "DBT_TARGET_PATH", "DBT_LOG_PATH"):
        assert deployment.image_environment()[name].startswith("/tmp"), name  # noqa: S108
    assert "/tmp" in mounts  # noqa: S108
    # Each …_FILE setting points to a file in the secret volume.
    settings = deployment.manifests()["base/configmap.yaml"]["data"]
    settings |= {each["name"]: each["value"] for each in container["env"] if "value" in each}
    secrets = [each["secret"] for each in pod["volumes"] if "secret" in each]
    items = [item for secret in secrets for item in secret["items"]]
    files = {f"{place}/{item['path']}" for place in mounts if mounts[place] == "secrets" for item in items}
    if path == "base/build.yaml":
        assert not files  # dbt needs no key of CloudZero
        return
    assert {value for name, value in settings.items() if name.endswith("_FILE")} == files


def test_probes_and_service_use_the_container_port() -> None:
    (container,) = PODS["serve/deployment.yaml"]["containers"]
    assert container["ports"] == [{"name": "http", "containerPort": 4100}]
    probes = {name: container[name]["httpGet"] for name in container if name.endswith("Probe")}
    assert probes == {
        "startupProbe": {"path": "/health", "port": "http"},
        "livenessProbe": {"path": "/health", "port": "http"},
        "readinessProbe": {"path": "/ready", "port": "http"},
    }
    manifests = deployment.manifests()
    labels = manifests["serve/deployment.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert manifests["serve/service.yaml"]["spec"]["selector"].items() <= labels.items()
    assert manifests["base/networkpolicy.yaml"]["spec"]["podSelector"]["matchLabels"].items() <= labels.items()


def test_promtool_accepts_the_alerts_and_their_tests() -> None:
    promtool = tool("promtool")
    for command in (
        ("check", "rules", "alerts.yml"),
        ("check", "config", "--syntax-only", "prometheus.example.yml"),
        ("test", "rules", "alerts.test.yml", "alerts_month.test.yml"),
    ):
        found = run(promtool, *command, cwd=PROMETHEUS)
        assert found.returncode == 0, found.stdout + found.stderr


def test_every_alert_has_a_firing_and_a_silent_case() -> None:
    rules = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text("utf-8"))["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules if "alert" in rule}
    seen: dict[bool, set[str]] = {True: set(), False: set()}
    for path in PROMETHEUS.glob("*.test.yml"):
        for test in yaml.safe_load(path.read_text("utf-8"))["tests"]:
            for each in test.get("alert_rule_test", []):
                seen[bool(each["exp_alerts"])].add(each["alertname"])
    assert seen == {True: alerts, False: alerts}
    assert len(alerts) == 11


def test_alerts_use_existing_metrics_and_jobs() -> None:
    text = (PROMETHEUS / "alerts.yml").read_text("utf-8")
    used = set(re.findall(r"\blitellm_cbf_[a-z_]+\b(?!:)", text))
    assert used
    assert used <= METRICS
    config = yaml.safe_load((PROMETHEUS / "prometheus.example.yml").read_text("utf-8"))
    assert [f'job="{job["job_name"]}"' for job in config["scrape_configs"]] == sorted(
        set(re.findall(r'job="[^"]+"', text))
    )
