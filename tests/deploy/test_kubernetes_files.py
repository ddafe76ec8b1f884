"""The files for Kubernetes, field by field.

The schema of KubeRay's resources isn't at hand: FIELDS below names what its reference (v1.5) has of what they use.
"""

import os
from collections.abc import Iterator
from fnmatch import fnmatch
from typing import Any

import pytest
import yaml
from support.paths import ROOT

from sweep.cluster.ray_names import DRIVER_RESOURCE

FOLDER = ROOT / "deploy" / "kuberay"
CLUSTER_FIELDS = {
    "rayVersion",
    "authOptions",
    "enableInTreeAutoscaling",
    "autoscalerOptions",
    "gcsFaultToleranceOptions",
    "headGroupSpec",
    "workerGroupSpecs",
}
FIELDS = {
    "RayCluster": CLUSTER_FIELDS,
    "RayJob": {
        "entrypoint",
        "backoffLimit",
        "submissionMode",
        "shutdownAfterJobFinishes",
        "ttlSecondsAfterFinished",
        "rayClusterSpec",
    },
    "autoscalerOptions": {"version", "upscalingMode", "idleTimeoutSeconds"},
    "gcsFaultToleranceOptions": {"redisAddress", "redisPassword"},
    "headGroupSpec": {"rayStartParams", "template"},
    "workerGroupSpecs": {"groupName", "minReplicas", "maxReplicas", "replicas", "rayStartParams", "template"},
}


def resources(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


@pytest.fixture(params=["raycluster.yaml", "rayjob.yaml"])
def cluster(request: pytest.FixtureRequest) -> dict[str, Any]:
    (resource,) = resources(request.param)
    spec: dict[str, Any] = resource["spec"]
    return spec if resource["kind"] == "RayCluster" else spec["rayClusterSpec"]


def pods() -> Iterator[dict[str, Any]]:
    """Yield the pods of all files."""
    for file in sorted(FOLDER.glob("*.yaml")):
        for resource in resources(file.name):
            spec = resource.get("spec", {})
            if resource["kind"] == "Deployment":
                yield spec["template"]["spec"]
            if resource["kind"] in ("RayCluster", "RayJob"):
                spec = spec.get("rayClusterSpec", spec)
                yield spec["headGroupSpec"]["template"]["spec"]
                yield from (group["template"]["spec"] for group in spec["workerGroupSpecs"])


@pytest.mark.parametrize(("file", "kind"), [("raycluster.yaml", "RayCluster"), ("rayjob.yaml", "RayJob")])
def test_no_field_is_unknown(file: str, kind: str) -> None:
    (resource,) = resources(file)
    assert (resource["apiVersion"], resource["kind"]) == ("ray.io/v1", kind)
    assert set(resource["spec"]) <= FIELDS[kind]
    spec = resource["spec"].get("rayClusterSpec", resource["spec"])
    assert set(spec) <= CLUSTER_FIELDS
    for name in ("autoscalerOptions", "gcsFaultToleranceOptions", "headGroupSpec"):
        assert set(spec.get(name, {})) <= FIELDS[name]
    for group in spec["workerGroupSpecs"]:
        assert set(group) <= FIELDS["workerGroupSpecs"]


def test_the_version_is_the_pinned_one_everywhere(cluster: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    assert f"ray=={cluster['rayVersion']}" in pins
    for pod in pods():
        for container in pod["containers"]:
            image = container["image"]
            assert image.startswith(("REGISTRY/sweep:" + str(cluster["rayVersion"]), "redis:")), image


def test_gpu_workers_come_from_none_on_spot_nodes_and_the_head_computes_nothing(cluster: dict[str, Any]) -> None:
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    head = cluster["headGroupSpec"]["rayStartParams"]
    assert head["num-cpus"] == "0"
    # The operator pastes it into a shell's command: JSON in double quotes in single quotes.
    quoted = head["resources"]
    assert quoted[0] == quoted[-1] == "'" or quoted[0] == quoted[-1] == '"'
    assert yaml.safe_load(yaml.safe_load(quoted)) == {DRIVER_RESOURCE: 1000}
    (group,) = cluster["workerGroupSpecs"]
    assert group["minReplicas"] == group["replicas"] == 0
    assert group["maxReplicas"] > 0
    (container,) = group["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    tolerated = {toleration["key"] for toleration in group["template"]["spec"]["tolerations"]}
    assert {"nvidia.com/gpu", "cloud.google.com/gke-spot"} <= tolerated
    values = [group["rayStartParams"], head]
    assert all(isinstance(value, str) for parameters in values for value in parameters.values())


def test_nobody_is_root_and_nothing_secret_is_in_a_file() -> None:
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        for container in pod["containers"]:
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            for variable in container.get("env", []):
                if any(word in variable["name"] for word in ("PASSWORD", "TOKEN", "KEY")):
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}
    kinds = [resource["kind"] for file in FOLDER.glob("*.yaml") for resource in resources(file.name)]
    assert "Secret" not in kinds


def test_the_heads_state_is_in_a_redis_that_is_there() -> None:
    (cluster,) = resources("raycluster.yaml")
    options = cluster["spec"]["gcsFaultToleranceOptions"]
    services = {one["metadata"]["name"]: one for one in resources("services.yaml") if one["kind"] == "Service"}
    name, _, port = options["redisAddress"].partition(":")
    assert [entry["port"] for entry in services[name]["spec"]["ports"]] == [int(port)]
    deployments = {one["metadata"]["name"]: one for one in resources("services.yaml") if one["kind"] == "Deployment"}
    secret = options["redisPassword"]["valueFrom"]["secretKeyRef"]
    (container,) = deployments["sweep-redis"]["spec"]["template"]["spec"]["containers"]
    assert container["env"][0]["valueFrom"]["secretKeyRef"] == secret
    for service in services.values():
        labels = deployments[service["metadata"]["name"]]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"] == labels


def test_a_job_that_dies_goes_on_with_a_command_that_the_sweep_takes() -> None:
    import typer.testing

    import sweep.run

    (job,) = resources("rayjob.yaml")
    assert job["spec"]["backoffLimit"] > 0
    script, *words = job["spec"]["entrypoint"].split()
    lines = (ROOT / "deploy" / "docker" / "Dockerfile").read_text().splitlines()
    (folder,) = (line.split()[1] for line in lines if line.startswith("WORKDIR"))
    copied = [line.split()[-1] for line in lines if line.startswith("COPY")]
    assert script.removeprefix(f"{folder}/") in copied
    assert os.access(ROOT / script.removeprefix(f"{folder}/"), os.X_OK)
    app = typer.Typer()
    app.command()(sweep.run.main)
    shown = typer.testing.CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300", "TERM": "dumb"}).output
    assert all(word in shown for word in words if word.startswith("--"))
    assert words[words.index("--storage") + 1].startswith("s3://")


@pytest.mark.parametrize("address", ["localhost:5000", "127.0.0.1:5000", "mlflow:5000"])
def test_mlflow_answers_at_the_addresses_that_are_used(address: str) -> None:
    """The first two are those of `kubectl port-forward`, the last one that of the pods."""
    (server,) = (pod for pod in pods() if pod["containers"][0]["name"] == "mlflow")
    (allowed,) = (text for text in server["containers"][0]["args"] if text.startswith("--allowed-hosts="))
    assert any(fnmatch(address, pattern) for pattern in allowed.partition("=")[2].split(","))


def test_lines_to_be_set_are_marked() -> None:
    for file in FOLDER.glob("*.yaml"):
        for line in file.read_text().splitlines():
            placeholder = any(word in line for word in ("BUCKET", "REGISTRY", "ACCOUNT"))
            assert not placeholder or "CHANGE" in line or "--space" in line, (file.name, line)
    (entrypoint,) = (line for line in (FOLDER / "rayjob.yaml").read_text().splitlines() if "entrypoint:" in line)
    assert "CHANGE" in entrypoint
