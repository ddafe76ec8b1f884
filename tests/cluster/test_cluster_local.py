"""`ray up cluster.local.yaml` over network namespaces as hosts, with the commands of docs/cluster.md."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from support.laptop import Laptop, laptop_and_hosts
from support.namespace_hosts import Host, what_is_missing

from sweep.records.sweep_storage import SweepStorage

MISSING = what_is_missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Laptop]:
    with laptop_and_hosts() as laptop:
        laptop.bring_up()
        yield laptop


def test_it_comes_up_and_a_sweep_trains_on_two_hosts_at_once(cluster: Laptop) -> None:
    said = cluster.page("local doctor")
    assert "3 machines" in said
    cluster.page("local data")
    said = cluster.page("local sweep")
    assert "knn" in said
    storage = SweepStorage(cluster.shared / "sweeps")
    attempts = [
        one for entry in storage.record("quickstart-smoke").trials for one in storage.trial_of(entry).attempts()
    ]
    assert {attempt.outcome for attempt in attempts} == {"finished"}
    assert ["h2", "h3"] in [sorted(attempt.hosts) for attempt in attempts]


def test_the_password_of_mlflow_is_on_the_head_node_alone(cluster: Laptop) -> None:
    head, *workers = cluster.hosts
    assert (head.home / ".sweep-head/env").stat().st_mode & 0o077 == 0
    for host in cluster.hosts:
        assert (host.home / ".sweep-secrets/env").is_file()
        assert not (host.home / ".sweep-secrets/head.env").exists()
    password = (head.home / ".sweep-head/env").read_text().partition("ADMIN_PASSWORD='")[2].partition("'")[0]
    assert len(password) > 20
    for host in workers:
        found = subprocess.run(["grep", "-rlF", password, str(host.home), "--exclude-dir=venv"], capture_output=True)
        assert found.stdout == b""


def test_mlflow_is_found_again_and_comes_back_when_it_dies(cluster: Laptop) -> None:
    head = cluster.hosts[0]
    service = "~/sweep-service/mlflow_service.sh"
    (before,) = servers_of(head)
    cluster.page("local up again")
    head.run(f"{service} start", key=cluster.key)
    assert servers_of(head) == [before]
    os.kill(before, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while (new := servers_of(head)) in ([], [before]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert len(new) == 1
    head.run(f"for _ in $(seq 60); do {service} status && exit 0; sleep 1; done; exit 1", key=cluster.key)


def test_a_second_up_finds_mlflow_and_brings_every_node_again(cluster: Laptop) -> None:
    before = servers_of(cluster.hosts[0])
    cluster.page("local up")
    assert servers_of(cluster.hosts[0]) == before
    cluster.wait_for_nodes(3)


def test_a_server_that_does_not_start_ends_up_with_its_log_and_leaves_ray_alone(cluster: Laptop) -> None:
    head = cluster.hosts[0]
    secrets = head.home / ".sweep-head/env"
    before = secrets.read_text()
    head.run("~/sweep-service/mlflow_service.sh stop", key=cluster.key)
    secrets.write_text(before.replace("sqlite:///$HOME/.sweep-mlflow/mlflow.db", "sqlite:////proc/nowhere/mlflow.db"))
    said = cluster.page("local up", code=1)
    assert "MLflow's server did not start" in said
    assert "nowhere" in said.partition("did not start")[2]
    assert not [line for line in head.processes().values() if "mlflow" in line]
    cluster.wait_for_nodes(3)
    secrets.write_text(before)
    head.run("~/sweep-service/mlflow_service.sh start", key=cluster.key)


def servers_of(host: Host) -> list[int]:
    return [pid for pid, line in host.processes().items() if "bin/mlflow server" in line]


def test_down_leaves_nothing(cluster: Laptop) -> None:
    cluster.page("local down")
    deadline = time.monotonic() + 120
    while left := {host.name: host.processes() for host in cluster.hosts if host.processes()}:
        assert time.monotonic() < deadline, left
        time.sleep(2)
