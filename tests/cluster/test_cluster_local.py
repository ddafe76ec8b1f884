"""`ray up cluster.local.yaml` over network namespaces as hosts, with the commands of docs/cluster.md."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from support.namespace_hosts import SHARED, USER, Host, hosts, what_is_missing
from support.page_commands import page_commands
from support.paths import ROOT

from sweep.cluster_setup.cluster_file import filled
from sweep.records.sweep_storage import SweepStorage

MISSING = what_is_missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]
COMMANDS = page_commands(ROOT / "docs/cluster.md")


@dataclass(frozen=True)
class Laptop:
    """Where `ray up` is called: a home of its own, and the commands of the page."""

    home: Path
    hosts: list[Host]
    shared: Path

    @property
    def key(self) -> Path:
        """The key that opens the hosts."""
        return self.home.parent / "key"

    def run(self, command: str, *, code: int = 0, timeout: float = 400) -> str:
        """Run what the page says."""
        (self.home / "tmp").mkdir(exist_ok=True)
        environment = {
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "RAY_TMPDIR": str(self.home / "tmp"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "SHARE": SHARED,
            "STORE": "sqlite:///$HOME/.sweep-mlflow/mlflow.db",
            "RAY_USAGE_STATS_ENABLED": "0",
        }
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-ec", command],
            cwd=self.home,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=timeout,
        )
        print(f"$ {command}{done.stdout}exit code {done.returncode}, {time.monotonic() - began:.0f} s")
        assert done.returncode == code, done.stdout
        return done.stdout

    def page(self, name: str, *, code: int = 0) -> str:
        """Run a block of the page."""
        return self.run(COMMANDS[name], code=code)


def environment_with(folder: Path) -> Path:
    """Make what stands in for a ~/venv that is on every machine already: this Python's packages, as hard links."""
    if folder.stat().st_dev != Path(sys.prefix).stat().st_dev:
        pytest.skip("the test's Python environment lies on another file system than the temporary folder")
    made = folder / "venv"
    subprocess.run(["cp", "-al", sys.prefix, str(made)], check=True)
    for script in (made / "bin").iterdir():
        if script.is_file() and not script.is_symlink():
            content = script.read_bytes()
            if content.startswith(b"#!" + sys.prefix.encode()):
                script.unlink()
                script.write_bytes(content.replace(sys.prefix.encode(), b"/run/sweeper/venv", 1))
                script.chmod(0o755)
    for link in made.glob("lib/python*/site-packages/__editable__*sweep*"):
        link.unlink()
    return made


@pytest.fixture(scope="module")
def laptop() -> Iterator[Laptop]:
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))
    try:
        pytest.importorskip("flask_wtf", reason="needs the extra `cluster`")
        venv = environment_with(folder)
        shared = folder / "shared"
        (folder / "laptop").mkdir()
        shared.mkdir()
        with hosts(3, folder, shared) as made:
            for host in made:
                subprocess.run(["cp", "-al", str(venv), str(host.home / "venv")], check=True)
            one = Laptop(folder / "laptop", made, shared)
            shutil.copytree(ROOT / "docs", one.home / "docs")
            answers = {"head": made[0].address, "workers": [host.address for host in made[1:]]}
            answers |= {"ssh_user": USER, "ssh_key": str(one.key), "cluster_name": "sweep-local"}
            config = yaml.safe_load(filled("local", answers))
            # The hosts are one machine: one CPU each puts a trial's two workers on two of them.
            config["worker_start_ray_commands"][-1] += " --num-cpus=1"
            (one.home / "my-cluster.yaml").write_text(yaml.safe_dump(config, sort_keys=False, width=1000))
            yield one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(laptop: Laptop) -> Laptop:
    """The same with everything up."""
    laptop.run(f"{ROOT}/deploy/cluster/make_bundle.sh")
    laptop.page("secrets")
    # Each host takes the machine's memory for its own.
    laptop.run("echo RAY_memory_monitor_refresh_ms=0 >> ~/.sweep-secrets/env")
    laptop.page("local up")
    wait_for_nodes(laptop, 3)
    return laptop


def wait_for_nodes(laptop: Laptop, count: int, *, seconds: float = 180) -> None:
    deadline = time.monotonic() + seconds
    look = "python -c \"import ray; ray.init('auto', configure_logging=False, log_to_driver=False); "
    look += "print('ALIVE', sum(node['Alive'] for node in ray.nodes()))\""
    began = time.monotonic()
    while f"ALIVE {count}" not in (
        said := laptop.hosts[0].run(f". ~/sweep-service/environment.sh; {look}", key=laptop.key)
    ):
        assert time.monotonic() < deadline, said
        time.sleep(2)
    print(f"{count} nodes after {time.monotonic() - began:.0f} s more")


def test_it_comes_up_and_a_sweep_trains_on_two_hosts_at_once(cluster: Laptop) -> None:
    said = cluster.page("local doctor")
    assert "3 machines" in said
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
    wait_for_nodes(cluster, 3)


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
    wait_for_nodes(cluster, 3)
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
