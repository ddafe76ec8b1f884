"""What a cluster without GPUs says that it can grow to: by KubeRay's resource, by Ray's own state, or not at all."""

import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.kubernetes_api import KubernetesApi, kubernetes_api
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import head, run

from sweep.cluster.ray_names import ENVIRONMENT, LOCAL_ENVIRONMENT
from sweep.cluster.ray_private import kuberay_config
from sweep.planning.resources import CORES_A_GPU

ADDRESS = "/apis/ray.io/v1/namespaces/research/rayclusters/sweep"
JOIN = """
import json, sys
from sweep.cluster.connection import connect
from sweep.planning.resources import choose_shape
with connect(sys.argv[1]) as resources:
    shape = choose_shape(1, "auto", {"CPU": 1.0, **resources})
    print("WITHIN REACH", json.dumps([resources, "gpu" if shape.use_gpu else "cpu"]))
"""
REPORT = """
import sys
from ray._raylet import GcsClient
from ray.core.generated.autoscaler_pb2 import ClusterConfig
config = ClusterConfig()
config.node_group_configs.add(name="head", resources={"CPU": 2}, max_count=1)
config.node_group_configs.add(name="gpu", resources={"CPU": 16, "GPU": 2}, max_count=-1)
config.max_resources["GPU"] = 20
GcsClient(address=sys.argv[1]).report_cluster_config(config.SerializeToString())
"""


def document() -> dict[str, Any]:
    """Return the file's cluster as Kubernetes keeps it."""
    resource: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "kuberay" / "raycluster.yaml").read_text())
    resource["metadata"]["namespace"] = "research"
    return resource


@pytest.fixture
def api(tmp_path: Path) -> Iterator[KubernetesApi]:
    with kubernetes_api(tmp_path) as serving:
        yield serving


def joined(address: str, folder: Path) -> tuple[dict[str, float], str, str]:
    """Return what a process that joins is told there can be, what its trials would run on, and all that it says."""
    said = run(sys.executable, "-c", JOIN, address, cwd=folder)
    (line,) = [line for line in said.splitlines() if line.startswith("WITHIN REACH ")]
    resources, device = json.loads(line.removeprefix("WITHIN REACH "))
    return resources, device, said


@pytest.mark.slow
def test_a_cluster_of_kuberay_without_workers_has_the_gpus_that_may_come(tmp_path: Path, api: KubernetesApi) -> None:
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_CLUSTER_NAME": "sweep", "RAY_CLUSTER_NAMESPACE": "research"}
    port = free_port()
    address = f"127.0.0.1:{port}"
    options = ("--num-cpus=0", "--include-dashboard=false")
    with head(*options, environment={**environment, **api.environment()}, port=port):
        resources, device, said = joined(address, tmp_path)
        assert "403" in said, "without the right to read it nothing is guessed, and the log says so"
        assert "taking the cluster as it is" in said
        assert (resources.get("GPU"), device) == (None, "cpu")

        api.resources[ADDRESS] = document()
        resources, device, said = joined(address, tmp_path)
        assert (resources["GPU"], resources["CPU"], resources[CORES_A_GPU], device) == (8, 56, 7, "gpu")
        assert "taking the cluster" not in said

        run(sys.executable, "-c", REPORT, address, cwd=tmp_path)  # what Ray itself knows goes first
        resources, device, _ = joined(address, tmp_path)
        assert (resources["GPU"], resources[CORES_A_GPU], device) == (20, 8, "gpu")


def test_the_service_account_asks_for_its_own_cluster(
    tmp_path: Path, api: KubernetesApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**ENVIRONMENT, **LOCAL_ENVIRONMENT}.items():  # read when Ray is imported
        monkeypatch.setenv(name, value)
    from ray.autoscaler._private.kuberay import node_provider

    (tmp_path / "token").write_text("secret")
    (tmp_path / "namespace").write_text("research")
    monkeypatch.setattr(node_provider, "IN_CLUSTER_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(node_provider, "IN_CLUSTER_CA_CERT_PATH", str(api.certificate))
    here = functools.partial(node_provider.url_from_resource, kubernetes_host=f"127.0.0.1:{api.port}")
    monkeypatch.setattr(node_provider, "url_from_resource", here)
    api.resources[ADDRESS] = document()
    config = kuberay_config({"RAY_CLUSTER_NAME": "sweep"})
    assert config is not None
    assert config["available_node_types"]["gpu"]["resources"] == {"CPU": 7, "GPU": 1, "memory": 28 * 2**30}
    assert api.asked == [(ADDRESS, "Bearer secret")]
    api.resources[ADDRESS]["spec"]["enableInTreeAutoscaling"] = False
    assert kuberay_config({"RAY_CLUSTER_NAME": "sweep"}) == {}


def test_a_gpu_that_is_not_there_is_said_as_it_was_asked_for() -> None:
    from sweep.planning.resources import choose_shape
    from trainables.errors import BadInputError

    with pytest.raises(BadInputError, match="--device gpu: there is no GPU; choose --device cpu"):
        choose_shape(1, "gpu", {"CPU": 2.0})
