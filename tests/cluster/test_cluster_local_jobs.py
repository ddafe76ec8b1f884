"""Jobs from a laptop to namespaces as hosts that share a bucket, and machines lost in the middle of them."""

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.aws_account import KEYS, moto_server
from support.laptop import COMMANDS, Laptop, Program, laptop_and_hosts
from support.namespace_hosts import NETWORK, what_is_missing
from support.paths import ROOT
from support.ports import free_port

from sweep.records.sweep_storage import SweepStorage
from trainables.storage.trial_files import TrialFiles

MISSING = what_is_missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
JOB = "python -m sweep.run --space quickstart --smoke --workers 2"
SPACE = """
from dataclasses import replace
from search_spaces.quickstart import SPACE as QUICKSTART
SPACE = replace(QUICKSTART, baselines=())
"""
FIELDS = ("epochs=8", "warmup_epochs=0", "max_train_images=960", "max_test_images=64", "batch_size=32")
FIELDS += ("width_factor=0.125", "temperature=0.25,0.5", "seed=0", "label_draw=0")


@dataclass(frozen=True)
class Cluster:
    """A cluster that is up, with the head node's dashboard at a port of the laptop."""

    laptop: Laptop
    bucket: Any
    """boto3's client."""
    port: int

    def submit(self, command: str) -> str:
        """Return what the page types to hand in a job, for another command."""
        page = COMMANDS["local submit"].replace("8265", str(self.port))
        before, _, after = page.partition("python -m sweep.run")
        return before + command + after[after.index(" --address") :]

    def names(self, prefix: str) -> list[str]:
        """Return what lies in the bucket."""
        pages = self.bucket.get_paginator("list_objects_v2").paginate(Bucket="sweeps", Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    import boto3

    with ExitStack() as stack:
        laptop = stack.enter_context(laptop_and_hosts())
        address = stack.enter_context(moto_server(laptop.home, f"{NETWORK}.1"))
        variables = {**KEYS, "AWS_ENDPOINT_URL": address}
        laptop = replace(laptop, variables={**variables, "SHARE": "s3://sweeps"})
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in variables.items():
            patch.setenv(name, value)
        bucket = boto3.client("s3")
        bucket.create_bucket(Bucket="sweeps", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
        laptop.bring_up()
        laptop.page("local upload")
        port = free_port()
        stack.enter_context(laptop.beside(f"{COMMANDS['local dashboard'].strip()} --port {port}"))
        wait_for_port(port)
        yield Cluster(laptop, bucket, port)


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5):
                return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.2)


def test_a_job_from_the_laptop_leaves_all_of_its_results_in_the_bucket(cluster: Cluster) -> None:
    laptop = cluster.laptop
    said = laptop.run(cluster.submit(JOB), folder=ROOT)
    assert "succeeded" in said
    attempts = [one for trial in trials_of("quickstart-smoke") for one in trial.attempts()]
    assert {attempt.outcome for attempt in attempts} == {"finished"}
    assert ["h2", "h3"] in [sorted(attempt.hosts) for attempt in attempts]
    results = cluster.names("sweeps/")
    for part in ("/epochs/", "/checkpoints/", "/attempts/"):
        assert [name for name in results if part in name], results
    assert cluster.names("mlflow/")
    assert "stores/digits/store.json" in cluster.names("stores/")
    assert not list(laptop.shared.iterdir())
    # Anywhere that reads the bucket, and on the head node as the page says.
    facts = json.loads(laptop.run("python -m sweep.status quickstart-smoke --json --storage $SHARE/sweeps"))
    assert facts["counts"] == {"finished": len(facts["trials"])}
    here = laptop.run("python -m sweep.compare quickstart-smoke --storage $SHARE/sweeps")
    assert "raw pixels" in here
    there = laptop.page("local compare")
    assert "raw pixels" in there


@contextmanager
def long_sweep(cluster: Cluster, name: str) -> Iterator[Program]:
    """Hand in a sweep of two trials that train on two hosts each; any failure that counts ends a trial."""
    folder = cluster.laptop.home / name
    folder.mkdir()
    (folder / "space.py").write_text(SPACE)
    settings = " ".join(f"--set {field}" for field in FIELDS)
    command = f"python -m sweep.run --space space.py --name {name} --no-reuse --workers 2 --max-failures 0 {settings}"
    with cluster.laptop.beside(cluster.submit(command), folder=folder) as sweep:
        yield sweep


def ends_well_with_a_lost_node(cluster: Cluster, name: str, sweep: Program) -> None:
    assert sweep.wait() == 0, sweep.said
    assert "lost_node: " in sweep.said
    outcomes = [[attempt.outcome for attempt in trial.attempts()] for trial in trials_of(name)]
    assert sorted(outcomes) == [["finished"], ["lost_node", "finished"]]
    facts = json.loads(cluster.laptop.run(f"python -m sweep.status {name} --json --storage $SHARE/sweeps"))
    assert facts["counts"] == {"finished": 2}
    assert "lost_node" in [trial["note"] for trial in facts["trials"]]


def test_a_host_whose_raylet_is_killed_comes_back_and_the_sweep_ends(cluster: Cluster) -> None:
    host = cluster.laptop.hosts[2]
    with long_sweep(cluster, "killed") as sweep:
        sweep.wait_for("epoch 2/")
        (raylet,) = [pid for pid, line in host.processes().items() if "/raylet/raylet " in line]
        os.kill(raylet, signal.SIGKILL)
        print(f"{time.monotonic() - sweep.began:6.1f} KILLED")
        ends_well_with_a_lost_node(cluster, "killed", sweep)
    cluster.laptop.wait_for_nodes(3)


def test_a_host_whose_link_is_cut_is_lost_and_the_sweep_ends_when_it_is_mended(cluster: Cluster) -> None:
    host = cluster.laptop.hosts[2]
    with long_sweep(cluster, "cut") as sweep:
        sweep.wait_for("epoch 2/")
        host.cut()
        print(f"{time.monotonic() - sweep.began:6.1f} CUT")
        try:
            cluster.laptop.wait_for_nodes(2)
        finally:
            host.mend()
        print(f"{time.monotonic() - sweep.began:6.1f} MENDED")
        ends_well_with_a_lost_node(cluster, "cut", sweep)
    cluster.laptop.wait_for_nodes(3)


def trials_of(sweep: str) -> list[TrialFiles]:
    storage = SweepStorage("s3://sweeps/sweeps")
    return [storage.trial_of(entry) for entry in storage.record(sweep).trials]
