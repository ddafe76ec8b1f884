"""Ray's autoscalers on `cluster.local.yaml`: v1, which the file asks for, brings all machines, v2 doesn't yet."""

import json
import time
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import head

HEAD, *WORKERS = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
LOOPS = "Adding 1 nodes to satisfy min count"
"""Said once by an autoscaler that brings a node, again and again by one that doesn't."""


def states_once_settled(folder: Path, *, v2: bool) -> dict[str, str]:
    """Return the states of the file's machines, as soon as all run or the autoscaler goes round in circles.

    Nobody logs in to a machine: what is looked at is whom the autoscaler takes for its nodes.
    """
    from ray.autoscaler._private.util import prepare_config

    config = yaml.safe_load((ROOT / "cluster.local.yaml").read_text())
    config["provider"] |= {"head_ip": HEAD, "worker_ips": WORKERS, "disable_node_updaters": True}
    config["auth"]["ssh_private_key"] = str(folder / "key")
    (folder / "key").write_text("")
    config["file_mounts"] = {}
    (folder / "cluster.yaml").write_text(json.dumps(prepare_config(config)))
    # As `ray up` starts a head node.
    environment = {"RAY_CLOUD_INSTANCE_ID": HEAD, "RAY_NODE_TYPE_NAME": "local.cluster.node"}
    environment |= {"RAY_enable_autoscaler_v2": str(int(v2)), "RAY_AUTH_MODE": "disabled"}
    environment["AUTOSCALER_UPDATE_INTERVAL_S"] = "1"
    environment["RAY_TMPDIR"] = str(folder)  # where the provider notes the states
    options = (f"--autoscaling-config={folder / 'cluster.yaml'}", "--num-cpus=0", "--include-dashboard=false")
    states: dict[str, str] = {}
    with head(*options, environment=environment, port=free_port()) as ray_folder:
        log = ray_folder / "session_latest/logs/monitor.log"
        deadline = time.monotonic() + 90
        while set(states.values()) != {"running"} and (not log.exists() or log.read_text().count(LOOPS) < 5):
            assert time.monotonic() < deadline, states
            time.sleep(0.2)
            for file in folder.rglob("cluster-sweep-local.state"):
                states = {name: machine["state"] for name, machine in json.loads(file.read_text() or "{}").items()}
    return states


@pytest.mark.slow
def test_the_autoscaler_of_the_file_takes_every_machine(tmp_path: Path) -> None:
    assert states_once_settled(tmp_path, v2=False) == dict.fromkeys((HEAD, *WORKERS), "running")


@pytest.mark.slow
def test_ray_has_not_mended_its_second_autoscaler_yet(tmp_path: Path) -> None:
    states = states_once_settled(tmp_path, v2=True)
    assert set(states) == {HEAD, *WORKERS}
    assert set(states.values()) != {"running"}, "mended: remove RAY_enable_autoscaler_v2=0 from cluster.local.yaml"
