"""What a cluster can grow to, by what its autoscaler was told."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sweep.cluster.autoscaler import _autoscaler_config, _custom_resource, reach
from sweep.cluster.ray_private import UNLIMITED
from sweep.planning.resources import CORES_A_GPU

CONFIG = {
    "available_node_types": {
        "head": {"resources": {"CPU": 2}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": 4},
    },
    "head_node_type": "head",
    "max_workers": 3,
}


def test_the_file_is_found_by_the_command_line_of_the_clusters_own_autoscaler(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump({**CONFIG, "auth": {"ssh_private_key": "secret"}}))
    options = ["--gcs-address=10.0.0.1:1", f"--autoscaling-config={file}"]
    autoscaler = subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); import time; time.sleep(900)", *options], stdout=subprocess.PIPE
    )
    try:
        assert autoscaler.stdout is not None
        with autoscaler.stdout:
            autoscaler.stdout.readline()
        assert _autoscaler_config("10.0.0.1:1") == CONFIG
        assert _autoscaler_config("10.0.0.2:1") == {}
    finally:
        autoscaler.kill()
        autoscaler.wait()
    assert _autoscaler_config("10.0.0.1:1") == {}


def test_it_grows_by_the_largest_nodes_within_its_limit() -> None:
    most = reach({"CPU": 2.0}, [{"CPU": 2.0}], CONFIG)
    assert most == {"CPU": 26.0, "GPU": 3.0, CORES_A_GPU: 8.0}
    assert reach({"CPU": 2.0}, [{"CPU": 2.0}], {}) == {"CPU": 2.0}


def test_a_group_without_a_limit_and_a_limit_of_a_resource() -> None:
    endless = {
        "available_node_types": {"gpu": {"resources": {"CPU": 8, "GPU": 1}, "max_workers": UNLIMITED}},
        "max_workers": UNLIMITED,
    }
    assert reach({"CPU": 2.0}, [{"CPU": 2.0}], endless)["GPU"] == UNLIMITED
    assert reach({"CPU": 2.0}, [{"CPU": 2.0}], {**endless, "max_resources": {"GPU": 6}})["GPU"] == 6


def test_only_kuberays_pods_ask_kubernetes() -> None:
    assert _custom_resource({}) == {}
    assert _custom_resource({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}) == {}
    with pytest.raises(OSError, match="serviceaccount"):  # it asks, and this machine is no pod
        _custom_resource({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "RAY_CLUSTER_NAME": "sweep"})
