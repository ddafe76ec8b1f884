"""A host that goes in the middle of a trial: its peers' connections break at once, Ray learns of it much later."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare

PROGRAM = """
import os, signal, subprocess, sys
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT
os.environ |= {**ENVIRONMENT, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
from ray.cluster_utils import Cluster
import psutil  # which Ray brings

HEALTH = {"health_check_initial_delay_ms": 0, "health_check_timeout_ms": 2000, "health_check_period_ms": 2000}
cluster = Cluster(
    initialize_head=True,
    head_node_args={
        "num_cpus": 0,
        "resources": {DRIVER_RESOURCE: 10},
        "include_dashboard": False,
        "_system_config": {**HEALTH, "health_check_failure_threshold": 4},
    },
)
hosts = [cluster.add_node(num_cpus=1) for _ in range(2)]
raylet = psutil.Process(hosts[1].all_processes["raylet"][0].process.pid)
command = [sys.executable, "-m", "sweep.run", "--address", cluster.address, *sys.argv[1:]]
sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
lost = False
for line in sweep.stdout:
    print(line, end="", flush=True)
    if not lost and "epoch 2/" in line:
        lost = True
        workers = raylet.children(recursive=True)
        raylet.suspend()  # it neither answers nor says goodbye, as if the machine were gone
        for worker in workers:
            worker.kill()
        cluster.add_node(num_cpus=1)
code = sweep.wait()
raylet.kill()
cluster.shutdown()
sys.exit(code)
"""
SPACE = """
from dataclasses import replace
from search_spaces.quickstart import SPACE as QUICKSTART
SPACE = replace(QUICKSTART, baselines=())
"""


@pytest.mark.slow
def test_a_lost_host_does_not_count_though_its_peers_notice_before_ray(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path / "data")
    fields = ("epochs=4", "warmup_epochs=0", "max_train_images=960", "max_test_images=64", "batch_size=32")
    fields += ("width_factor=0.125", "temperature=0.5", "seed=0", "label_draw=0")
    (tmp_path / "space.py").write_text(SPACE)
    settings = [part for field in fields for part in ("--set", field)]
    options = ["--name", "lost", "--workers", "2", "--device", "cpu", "--max-failures", "0"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "--space", "space.py", *settings, *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tried again only if a machine of it turns out to be lost" in done.stdout
    assert "lost_node: a machine of attempt 1 was lost, it doesn't count" in done.stdout
    storage = SweepStorage(tmp_path / ".sweep")
    (entry,) = storage.record("lost").trials
    attempts = storage.trial_of(entry).attempts()
    assert [attempt.outcome for attempt in attempts] == ["lost_node", "finished"]
    assert "peer" in attempts[0].message
