"""A laptop that brings `cluster.local.yaml` up over namespaces as hosts, with the commands of docs/cluster.md."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from support.namespace_hosts import SHARED, USER, Host, hosts
from support.page_commands import page_commands
from support.paths import ROOT
from sweep.cluster_setup.cluster_file import filled

COMMANDS = page_commands(ROOT / "docs/cluster.md")
LOOK = """python -c "
import ray
ray.init('auto', configure_logging=False, log_to_driver=False)
print('ALIVE', sum(node['Alive'] for node in ray.nodes()))" """


class Program:
    """A command that runs beside the test, what it says, and when."""

    def __init__(self, command: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.began = time.monotonic()
        self._said: list[str] = []
        self._changed = threading.Condition()
        self.process = subprocess.Popen(
            ["bash", "-ec", command],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                print(f"{time.monotonic() - self.began:6.1f} {line}", end="")
                with self._changed:
                    self._said.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def said(self) -> str:
        """All that it printed so far."""
        with self._changed:
            return "".join(self._said)

    def wait_for(self, text: str, seconds: float = 240) -> None:
        """Wait until it has printed the text."""
        with self._changed:
            there = lambda: text in "".join(self._said)  # noqa: E731
            ended = lambda: self.process.poll() is not None  # noqa: E731
            deadline = time.monotonic() + seconds
            while not self._changed.wait_for(there, timeout=1):
                assert not ended(), "".join(self._said)
                assert time.monotonic() < deadline, f"{text!r} isn't in: {''.join(self._said)}"

    def wait(self, seconds: float = 400) -> int:
        """Wait for its end; return its exit code."""
        code = self.process.wait(seconds)
        self._reader.join()
        print(f"exit code {code}, {time.monotonic() - self.began:.0f} s")
        return code

    def end(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()


@dataclass(frozen=True)
class Laptop:
    """Where `ray up` is called: a home of its own, and the commands of the page."""

    home: Path
    hosts: list[Host]
    shared: Path
    variables: dict[str, str] = field(default_factory=dict)
    """What a reader exports besides the page's first lines."""

    @property
    def key(self) -> Path:
        """The key that opens the hosts."""
        return self.home.parent / "key"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its shell."""
        (self.home / "tmp").mkdir(exist_ok=True)
        return {
            "HOME": str(self.home),
            "TMPDIR": str(self.home / "tmp"),
            "RAY_TMPDIR": str(self.home / "tmp"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHON": sys.executable,
            "RAY_USAGE_STATS_ENABLED": "0",
            "PYTHONUNBUFFERED": "1",
            "SHARE": SHARED,
            "STORE": "sqlite:///$HOME/.sweep-mlflow/mlflow.db",
            **self.variables,
        }

    @contextlib.contextmanager
    def beside(self, command: str, *, folder: Path | None = None) -> Iterator[Program]:
        """Run a command beside the block, at most as long as that."""
        program = Program(command, folder or self.home, self.environment)
        try:
            yield program
        finally:
            program.end()

    def run(self, command: str, *, code: int = 0, timeout: float = 400, folder: Path | None = None) -> str:
        """Run what the page says; return what it prints."""
        print(f"$ {command}")
        with self.beside(command, folder=folder) as program:
            assert program.wait(timeout) == code, program.said
            return program.said

    def page(self, name: str, *, code: int = 0, folder: Path | None = None) -> str:
        """Run a block of the page."""
        return self.run(COMMANDS[name], code=code, folder=folder)

    def bring_up(self) -> None:
        """Do what the page says up to a cluster that is whole."""
        self.run(f"{ROOT}/deploy/cluster/make_bundle.sh")
        self.page("secrets")
        # Each host takes the machine's memory for its own.
        self.run("echo RAY_memory_monitor_refresh_ms=0 >> ~/.sweep-secrets/env")
        if "AWS_ENDPOINT_URL" in self.variables:
            self.page("own object store")
        self.page("local up")
        self.wait_for_nodes(3)

    def wait_for_nodes(self, count: int, *, seconds: float = 180) -> None:
        """Wait until so many nodes are there."""
        began = time.monotonic()
        while f"ALIVE {count}\n" not in (
            said := self.hosts[0].run(f". ~/sweep-service/environment.sh; {LOOK}", key=self.key)
        ):
            assert time.monotonic() - began < seconds, said
            time.sleep(2)
        print(f"{count} nodes after {time.monotonic() - began:.0f} s more")


@contextlib.contextmanager
def laptop_and_hosts() -> Iterator[Laptop]:
    """Make three hosts and a laptop whose my-cluster.yaml names them; nothing runs on them yet."""
    pytest.importorskip("flask_wtf", reason="needs the extra `cluster`")
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))
    try:
        shared = folder / "shared"
        (folder / "laptop").mkdir()
        shared.mkdir()
        with hosts(3, folder, shared) as made:
            laptop = Laptop(folder / "laptop", made, shared)
            shutil.copytree(ROOT / "docs", laptop.home / "docs")
            (laptop.home / "my-cluster.yaml").write_text(_cluster_file(laptop))
            yield laptop
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _cluster_file(laptop: Laptop) -> str:
    """Return the file that `sweep.configure` writes."""
    head, *workers = (host.address for host in laptop.hosts)
    answers = {"head": head, "workers": workers, "ssh_user": USER, "ssh_key": str(laptop.key)}
    config = yaml.safe_load(filled("local", answers | {"cluster_name": "sweep-local"}))
    # The hosts are one machine: one CPU each puts a trial's two workers on two of them.
    config["worker_start_ray_commands"][-1] += " --num-cpus=1"
    text: str = yaml.safe_dump(config, sort_keys=False, width=1000)
    return text
