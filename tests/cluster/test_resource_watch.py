"""What is said of trials that wait for resources: what they need, what there is, and who holds it."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.ports import free_port
from support.ray_head import head
from support.sweep_shell import GRID, Shell, rest, until

from sweep.cluster import resource_watch
from sweep.cluster.ray_private import ResourceClaim
from sweep.cluster.resource_watch import ClusterSnapshot, ResourceWatch, waiting_text, wanted_resources
from sweep.planning.resources import TrialShape
from sweep.records.lease import lease
from sweep.scheduling.dispatcher import TrialAttempt
from sweep.scheduling.task import TrialTask
from trainables.data.preparing.prepare import prepare

OWN, OTHER = "02000000", "01000000"
JOBS = {OTHER: "process 7 on 10.0.0.5: python train.py --password=hunter2"}
HOLDER = """
import sys, time, ray
ray.init(address=sys.argv[1], log_to_driver=False, configure_logging=False)
@ray.remote(num_cpus=1)
class Holder:
    def there(self): return True
holder = Holder.remote()
ray.get(holder.there.remote())
print("held", flush=True)
time.sleep(300)
"""


def cluster(*claims: ResourceClaim, total: float = 2, free: float = 0, errors: Sequence[str] = ()) -> ClusterSnapshot:
    return ClusterSnapshot({"CPU": total, "memory": 1e9}, {"CPU": free}, claims, JOBS, OWN, errors)


def claim(job: str, cpus: float, *, pending: bool = False, name: str = "a") -> ResourceClaim:
    return ResourceClaim(name, job, {"CPU": cpus}, pending=pending)


def attempt(*, most: int | None = None, placed: bool = False) -> TrialAttempt:
    shape = TrialShape(2, 1, use_gpu=False, most_workers=most)
    return TrialAttempt(TrialTask("t1", "trial", {}, "/store", "aa", "/files", shape), 0.0, placed=placed)


def test_the_holder_is_named_without_its_secrets() -> None:
    text = waiting_text([{"CPU": 1.0}] * 3, cluster(claim(OTHER, 2)))
    assert text == (
        "3 trials wait for 1 CPU each; free: 0 of 2 CPU; "
        "held by job 01000000, process 7 on 10.0.0.5: python train.py --password=*** (2 CPU)"
    )
    assert waiting_text([], cluster(claim(OTHER, 2))) == ""


def test_this_sweep_and_tasks_that_no_table_has_are_holders_too() -> None:
    text = waiting_text([{"CPU": 1.0}], cluster(claim(OWN, 1)))
    assert "1 trial waits for 1 CPU; free: 0 of 2 CPU; held by this sweep (1 CPU); tasks of job 01000000" in text
    assert text.endswith("(1 CPU)")


def test_machines_that_do_not_come_are_said_with_the_autoscaler_s_error() -> None:
    text = waiting_text([{"CPU": 4.0}], cluster(total=0, errors=["worker: InsufficientInstanceCapacity"]))
    assert text == (
        "1 trial waits for 4 CPU; free: 0 of 0 CPU; machines have to come; "
        "autoscaler: worker: InsufficientInstanceCapacity"
    )
    assert "no machine has that much free" in waiting_text([{"CPU": 4.0}], cluster(total=8, free=6))


def test_a_placement_group_waits_and_an_elastic_trial_that_has_none() -> None:
    stands = claim(OWN, 2, name="stands")
    there = cluster(stands, claim(OWN, 1, pending=True, name="waits"), claim(OTHER, 1, pending=True, name="b"))
    assert wanted_resources(there, [attempt()]) == {"waits": {"CPU": 1.0}}
    assert wanted_resources(cluster(), [attempt(most=4)]) == {"t1": {"CPU": 2.0}}
    assert wanted_resources(cluster(stands), [attempt(most=4)]) == {}, "its workers start"


def test_it_is_said_after_ten_seconds_and_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    now = [100.0]
    there = [cluster(claim(OWN, 1, pending=True), claim(OTHER, 2))]
    monkeypatch.setattr(resource_watch, "look_at_cluster", lambda: there[0])
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    watch = ResourceWatch(said.append)
    waiting = attempt()
    for now[0] in (100.0, 104.0, 108.0):
        watch.look([waiting], lambda: None)
    assert said == []
    for now[0] in (111.0, 115.0):
        watch.look([waiting], lambda: None)
    assert len(said) == 1
    assert said[0].startswith("1 trial waits for 1 CPU")
    there[0] = cluster(claim(OWN, 1))
    now[0] = 120.0
    watch.look([attempt(placed=True)], lambda: None)
    assert said[1:] == [""]


@pytest.mark.slow
def test_a_sweep_says_which_job_holds_the_cluster(tmp_path: Path, mlflow_database: Path) -> None:
    prepare("digits", root=tmp_path / "data")
    shell = Shell(tmp_path, tmp_path / "data", mlflow_database)
    shell.environment["RAY_AUTH_MODE"] = "disabled"
    (tmp_path / "holder.py").write_text(HOLDER)
    space, port = shell.space(GRID), free_port()
    address = f"127.0.0.1:{port}"
    options = ("--space", space, "--address", address, "--device", "cpu", "--trials", "1")
    holder = [sys.executable, str(tmp_path / "holder.py"), address]
    with (
        head("--num-cpus=1", "--include-dashboard=false", environment={"RAY_AUTH_MODE": "disabled"}, port=port),
        subprocess.Popen(holder, stdout=subprocess.PIPE, text=True, env=shell.environment) as other,
        ExitStack() as stack,
    ):
        stack.callback(other.kill)
        until(other, "held")
        with shell.background("run", *options) as running:
            said = until(running, "held by").splitlines()[-1]
            assert said.startswith("1 trial waits for 1 CPU; free: 0 of 1 CPU; held by job ")
            assert f", process {other.pid} on " in said
            assert f": {sys.executable}" in said
            deadline = time.monotonic() + 60
            while not ((held := lease(shell.storage, "small")) and held.state and held.state.waits):
                assert time.monotonic() < deadline
                time.sleep(0.1)
            assert "1 trial waits for 1 CPU" in shell("status", "small")
            other.kill()
            assert "budget of 1 trials reached" in rest(running)
    assert "waits for" not in shell("status", "small")
