"""A trial whose workers become more while it runs, on a cluster that grows."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from support.paths import ROOT

from sweep.records.sweep_storage import SweepStorage
from trainables.config import TrialConfig
from trainables.data.preparing.prepare import prepare
from trainables.data.store import ImageStore
from trainables.storage.filesystem import Storage
from trainables.storage.trial_files import TrialFiles
from trainables.training.trial import train

PROGRAM = """
import os, subprocess, sys, threading, time
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT
os.environ |= {**ENVIRONMENT, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
from ray.cluster_utils import Cluster
import psutil  # which Ray brings

def trainers():
    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            found += [process] if "RayTrainWorker" in " ".join(process.cmdline()) else []
        except psutil.Error:
            pass
    return found


def brake():
    # The trial must not be over before the second worker is there, however slowly that comes.
    while len(alone := trainers()) < 2:
        for running, seconds in ((False, 0.4), (True, 0.1)):
            for process in alone:
                try:
                    process.resume() if running else process.suspend()
                except psutil.Error:
                    pass
            time.sleep(seconds)


cluster = Cluster(
    initialize_head=True,
    head_node_args={"num_cpus": 0, "resources": {DRIVER_RESOURCE: 10}, "include_dashboard": False},
)
cluster.add_node(num_cpus=1)
command = [sys.executable, "-m", "sweep.run", "--address", cluster.address, *sys.argv[1:]]
sweep = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
grown = False
for line in sweep.stdout:
    print(line, end="", flush=True)
    if not grown and "epoch 2/" in line:
        threading.Thread(target=brake, daemon=True).start()
        cluster.add_node(num_cpus=1)
        grown = True
code = sweep.wait()
cluster.shutdown()
sys.exit(code)
"""

SPACE = """
from dataclasses import replace
from search_spaces.quickstart import SPACE as QUICKSTART
SPACE = replace(QUICKSTART, baselines=())
"""


@pytest.mark.slow
def test_workers_that_become_more_keep_the_trajectory(tmp_path: Path) -> None:
    prepare("digits", root=tmp_path / "data")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "SWEEP_DATA": str(tmp_path / "data"),
        "SWEEP_RESIZE_SECONDS": "2",
    }
    # Few steps: rounding differs by the number of workers, and grows.
    fields = ("epochs=12", "warmup_epochs=0", "max_train_images=960", "max_test_images=64", "batch_size=99")
    fields += ("width_factor=0.125", "temperature=0.5", "base_learning_rate=0.03", "seed=0", "label_draw=0")
    (tmp_path / "space.py").write_text(SPACE)
    arguments = ["--space", "space.py", *(part for field in fields for part in ("--set", field))]

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, "--name", "elastic", "--workers", "1:2", "--device", "cpu"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    storage = SweepStorage(tmp_path / ".sweep")
    (entry,) = storage.record("elastic").trials
    elastic, files = storage.trial_of(entry), TrialFiles(Storage.at(tmp_path / "alone"))
    store = ImageStore.open("digits", tmp_path / "data")
    alone = list(train(TrialConfig.parse(entry.config), store=store, files=files, device=torch.device("cpu")))
    final = elastic.final()
    assert final is not None
    assert final.workers == 2
    assert elastic.attempts()[-1].devices == 2
    for mine, theirs in zip(elastic.epochs(), alone, strict=True):
        for name in ("train/contrastive_loss", "train/supervised_loss"):
            assert mine.metrics[name] == pytest.approx(theirs.metrics[name], rel=1e-2)
