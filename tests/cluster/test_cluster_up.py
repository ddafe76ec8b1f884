"""Clusters as `ray start` makes them: one whose autoscaler brings nodes; one that asks for a token and takes jobs."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import RAY, head, run, wait_for_jobs

from sweep.cluster.ray_names import DRIVER_RESOURCE
from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare

TINY = (
    "epochs=2",
    "warmup_epochs=0",
    "max_train_images=64",
    "max_test_images=32",
    "batch_size=32",
    "width_factor=0.125",
    "seed=0",
    "label_draw=0",
)
SETTINGS = tuple(part for field in TINY for part in ("--set", field))
HEAD = "ray.head.default"  # so called in Ray's provider of fake nodes
LOOK = """
import json, ray, sys, time
ray.init(address=sys.argv[1], configure_logging=False, log_to_driver=False)
while True:
    print("NODES", json.dumps([node["Resources"] for node in ray.nodes() if node["Alive"]]), flush=True)
    time.sleep(0.5)
"""


class Nodes:
    """The nodes of a cluster that are alive, as a program of its own sees them again and again."""

    def __init__(self, address: str) -> None:
        self._program = subprocess.Popen(
            [sys.executable, "-c", LOOK, address],
            env={**os.environ, "RAY_AUTH_MODE": "disabled"},
            stdout=subprocess.PIPE,
            text=True,
        )
        self._seen: list[list[dict[str, float]]] = []
        self._looked = threading.Condition()
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> "Nodes":
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._program.kill()
        self._program.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self._program.stdout is not None
        with self._program.stdout as lines:
            for line in lines:
                if line.startswith("NODES "):
                    with self._looked:
                        self._seen.append(json.loads(line.removeprefix("NODES ")))
                        self._looked.notify_all()

    @property
    def most(self) -> int:
        """How many there were at once."""
        with self._looked:
            return max(map(len, self._seen))

    def once(self, count: int, timeout: float) -> list[dict[str, float]]:
        """Return the resources of each, as soon as there are so many from now on; else of those that there are."""
        with self._looked:
            before = len(self._seen)
            there = lambda: len(self._seen) > before and len(self._seen[-1]) == count  # noqa: E731
            self._looked.wait_for(there, timeout)
            return self._seen[-1]


FAKE = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
PROVIDERS = {"0": {"type": "fake_multinode"}, "1": {"type": "external", "module": FAKE, "launch_multiple": True}}
"""Of Ray's two autoscalers: v1, for machines of your own, and v2, for AWS, to which the fake one is a stranger's."""


@pytest.mark.slow
@pytest.mark.parametrize("v2", [pytest.param("0", marks=pytest.mark.long), "1"])
def test_nodes_come_for_a_sweep_that_asks_for_more_than_there_is_and_go_after_it(tmp_path: Path, v2: str) -> None:
    prepare("digits", root=tmp_path / "data")
    port = free_port()
    config = {
        "cluster_name": "fake",
        "max_workers": 2,
        "idle_timeout_minutes": 0.2,
        "upscaling_speed": 10.0,
        "provider": {
            **PROVIDERS[v2],
            "use_node_id_as_ip": True,
            "disable_node_updaters": True,
            "gcs_address": f"127.0.0.1:{port}",
        },
        "auth": {},
        "head_node_type": HEAD,
        "available_node_types": {
            HEAD: {"resources": {"CPU": 0, DRIVER_RESOURCE: 100}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
        },
        # The rest of what `ray up` would have filled in.
        **{name: [] for name in ("initialization_commands", "setup_commands", "head_setup_commands")},
        **{name: [] for name in ("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")},
        **{name: [] for name in ("cluster_synced_files", "rsync_exclude", "rsync_filter")},
        **{name: {} for name in ("file_mounts", "docker")},
    }
    file = tmp_path / "cluster.yaml"
    file.write_text(json.dumps(config))
    environment = {"RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_AUTH_MODE": "disabled"}
    environment |= {
        "RAY_enable_autoscaler_v2": v2,
        "RAY_NODE_TYPE_NAME": HEAD,
        "RAY_CLOUD_INSTANCE_ID": "f" * 51 + "0" * 5,
    }
    options = (f"--autoscaling-config={file}", "--num-cpus=0", "--include-dashboard=false")
    address = f"127.0.0.1:{port}"
    with head(*options, environment=environment, port=port), Nodes(address) as nodes:
        assert [node.get("CPU", 0) for node in nodes.once(1, timeout=60)] == [0]
        (tmp_path / "token").write_text("6b" * 32)
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token")}
        command = (sys.executable, "-m", "sweep.run", "--space", "quickstart", "--name", "grown", "--address", address)
        variables = {"PYTHONPATH": str(ROOT), "SWEEP_DATA": str(tmp_path / "data")}
        said = run(*command, *SETTINGS, cwd=tmp_path, code=2, **variables, **token)
        assert "error: RAY_AUTH_MODE: is 'token' here, but this cluster runs without a token" in said
        said = run(*command, *SETTINGS, cwd=tmp_path, **variables)
        assert nodes.most == 3  # the head, and the two that may come
        assert [node.get("CPU", 0) for node in nodes.once(1, timeout=90)] == [0]
    storage = SweepStorage(tmp_path / ".sweep")
    attempts = [attempt for entry in storage.record("grown").trials for attempt in storage.trial_of(entry).attempts()]
    assert {attempt.outcome for attempt in attempts} == {"finished"}, said


@pytest.mark.slow
def test_a_job_from_a_laptop_takes_the_code_and_nothing_else(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path / "data")
    laptop = tmp_path / "laptop"
    for name in ("sweep", "trainables", "search_spaces"):
        shutil.copytree(ROOT / name, laptop / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / ".rayignore", laptop)
    for name in (".venv", ".sweep", ".git"):
        (laptop / name).mkdir()
        with (laptop / name / "large").open("wb") as large:
            large.truncate(200_000_000)  # more than Ray takes at all
    token = "6b" * 32
    (tmp_path / "token").write_text(token)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    secret = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "token"), "PATH": path}
    page = free_port()
    options = (f"--dashboard-port={page}", "--dashboard-host=127.0.0.1", "--include-dashboard=true", "--num-cpus=2")
    with head(*options, environment=secret, port=free_port()) as ray_folder:
        submit = (RAY, "job", "submit", "--address", f"http://127.0.0.1:{page}", "--working-dir", ".")
        job = ("python", "-m", "sweep.run", "--space", "quickstart", "--name", "job", "--address", "auto", *SETTINGS)
        place = ("--storage", str(tmp_path / "storage"))
        variables = {"env_vars": {"SWEEP_DATA": str(tmp_path / "data")}}
        refused = run(*submit, "--", *job, cwd=laptop, code=1, RAY_AUTH_MODE="disabled")
        assert "401" in refused or "token" in refused.lower()
        wait_for_jobs(submit, laptop, secret)
        said = run(*submit, "--runtime-env-json", json.dumps(variables), "--", *job, *place, cwd=laptop, **secret)
        assert "succeeded" in said
        assert "4 of 4" in said or "knn" in said
        taken = [path for path in ray_folder.glob("session_latest/runtime_resources/*/*/**/*") if path.is_file()]
        assert "sweep/run.py" in {"/".join(path.parts[-2:]) for path in taken}
        assert not [path for path in taken if path.name == "large"]
        code = sum(path.stat().st_size for path in laptop.rglob("*.*") if path.is_file())
        # Ray may unpack it for the job and for its workers; Python's own compiled files lie beside the code.
        assert sum(path.stat().st_size for path in taken if path.parent.name != "__pycache__") < 3 * code
        logs = [path for path in (ray_folder / "session_latest" / "logs").rglob("*") if path.is_file()]
        assert logs
        assert not [path for path in logs if token in path.read_text(errors="replace")]
    assert token not in said
    storage = SweepStorage(tmp_path / "storage")
    record = storage.record("job")
    assert all(storage.trial_of(entry).final() is not None for entry in record.trials)
    assert token not in record.model_dump_json()
