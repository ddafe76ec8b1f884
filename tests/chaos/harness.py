"""A cluster of several raylets, an MLflow server and sweeps on them, and the faults that befall them."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster
from support.paths import ROOT

from sweep.cluster.processes import descendants, runs
from sweep.cluster.ray_names import DRIVER_RESOURCE, ENVIRONMENT

SPACE = """
from sweep.space import Grid, RankingObjective, SearchSpace, Stage

SPACE = SearchSpace(
    name="chaos",
    description="trials of a few seconds",
    base={
        "dataset": "digits", "image_size": 16, "positive": ("closed_loop",), "encoder": "resnet10",
        "width_factor": 0.125, "projector_layers": 2, "projector_output_width": 16, "warmup_epochs": 0,
        "max_train_images": 320, "max_test_images": 64, "batch_size": 32, "base_learning_rate": 1.0, "epochs": EPOCHS,
    },
    stages=(Stage("grid", (Grid(axes={"temperature": (0.1, 0.15, 0.2, 0.3, 0.5, 0.7)}),)),),
    objective=RankingObjective("test/knn_top1"),
    baselines=(),
)
"""


class Server:
    """An MLflow server that can be killed, and comes back with what it had."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; `wait` says when it answers."""
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(self._port)),
                *("--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db"),
                *("--artifacts-destination", str(self._folder / "artifacts")),
            ],
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait(self) -> None:
        """Return when it answers."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return
            time.sleep(0.3)
        raise RuntimeError("MLflow's server doesn't answer")

    def kill(self) -> None:
        """End it and its workers at once."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


class World:
    """Everything that a sweep needs, in one folder."""

    def __init__(self, folder: Path, data: Path, nodes: int = 2) -> None:
        self.folder, self.data = folder, data
        os.environ |= {**ENVIRONMENT, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "resources": {DRIVER_RESOURCE: 100}, "include_dashboard": False},
        )
        self._nodes = nodes
        for _ in range(nodes):
            self.cluster.add_node(num_cpus=1)
        self.server = Server(folder)
        self.server.start()
        self.server.wait()
        self.sweep: subprocess.Popen[bytes] | None = None
        self._reader: subprocess.Popen[bytes] | None = None
        """Takes what the sweep prints to its log, as tee does."""

    def close(self) -> None:
        """End everything that was started."""
        if self.sweep is not None:
            self.sweep.kill()
            self.sweep.wait()
        self.stop_reading()
        self.server.kill()
        ours = descendants(os.getpid())
        self.cluster.shutdown()
        for process in ours:
            with contextlib.suppress(ProcessLookupError):
                if runs(process):
                    os.kill(process, signal.SIGKILL)

    def start(self, name: str, storage: Path, *arguments: str) -> None:
        """Start a sweep, or resume it."""
        self.stop_reading()
        log = (self.folder / f"{name}.log").open("ab")
        self._reader = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=log)
        self.sweep = subprocess.Popen(
            [
                *(sys.executable, "-m", "sweep.run", "--storage", str(storage), "--tracking-uri", self.server.uri),
                *("--address", self.cluster.address, "--device", "cpu", "--max-failures", "1000"),
                *("--hang-minutes", "0.3", *arguments),
            ],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(self.data), "PYTHONUNBUFFERED": "1"},
            stdout=self._reader.stdin,
            stderr=log,
        )
        assert self._reader.stdin is not None
        self._reader.stdin.close()
        log.close()

    def write_log(self, name: str, fault: str) -> None:
        """Write a fault between what a sweep printed."""
        with (self.folder / f"{name}.log").open("a") as log:
            log.write(f"{time.strftime('%H:%M:%S')} --- {fault} ---\n")

    def stop_reading(self) -> bool:
        """Kill what reads the sweep's output; whether it still did."""
        if self._reader is None or self._reader.poll() is not None:
            return False
        self._reader.kill()
        self._reader.wait()
        return True

    def processes(self, *titles: str) -> list[int]:
        """Return the ids of the cluster's processes whose title begins with one of these."""
        found = []
        for process in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                title = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if title.startswith(titles):
                    found.append(process)
        return sorted(found)

    def replace_node(self) -> None:
        """Start a node in the place of one that was lost."""
        self.cluster.add_node(num_cpus=1)


class Faults:
    """What can go wrong, drawn with a seed. Each returns whether there was something to break."""

    def __init__(self, world: World, storage: Path, chance: random.Random) -> None:
        self._world, self.storage, self._chance = world, storage, chance
        self._back: list[tuple[float, Callable[[], None]]] = []

    def tick(self) -> None:
        """Bring back what was away for long enough."""
        due = [bring for moment, bring in self._back if moment <= time.monotonic()]
        self._back = [(moment, bring) for moment, bring in self._back if moment > time.monotonic()]
        for bring in due:
            bring()

    def settle(self) -> None:
        """Bring everything back now."""
        self._back = [(0.0, bring) for _, bring in self._back]
        self.tick()

    def worker_killed(self) -> bool:
        """SIGKILL of a training worker of a group."""
        return self._kill("ray::RayTrainWorker", "ray::_RayTrainWorker", "ray::TrainWorker")

    def tune_actor_killed(self) -> bool:
        """SIGKILL of the actor that Tune runs, which trains trials of one worker."""
        return self._kill("ray::TrialDriver")

    def train_controller_killed(self) -> bool:
        """SIGKILL of Ray Train's controller of a group."""
        return self._kill("ray::TrainController")

    def worker_frozen(self) -> bool:
        """SIGSTOP of a process that trains: it hangs."""
        return self._kill("ray::RayTrainWorker", "ray::TrialDriver", number=signal.SIGSTOP)

    def node_lost(self) -> bool:
        """SIGKILL of a raylet with all its workers; another node comes later."""
        nodes = sorted(self._world.cluster.worker_nodes, key=lambda node: node.unique_id)
        if len(nodes) < 2 or not self._under_way():
            return False
        self._world.cluster.remove_node(self._chance.choice(nodes), allow_graceful=False)
        self._later(self._world.replace_node)
        return True

    def sweep_killed(self) -> bool:
        """SIGKILL of the process that runs the sweep; it is resumed."""
        return self._signal_sweep(signal.SIGKILL)

    def interrupted(self) -> bool:
        """SIGINT to the process that runs the sweep; it is resumed."""
        return self._signal_sweep(signal.SIGINT)

    def terminated(self) -> bool:
        """SIGTERM to the process that runs the sweep; it is resumed."""
        return self._signal_sweep(signal.SIGTERM)

    def hung_up(self) -> bool:
        """SIGHUP to the process that runs the sweep; it is resumed."""
        return self._signal_sweep(signal.SIGHUP)

    def sweep_frozen(self) -> bool:
        """SIGSTOP of the process that runs the sweep, which wakes later."""
        if not self._under_way() or any(bring == self._wake for _, bring in self._back):
            return False
        self._later(self._wake)
        return self._signal_sweep(signal.SIGSTOP)

    def output_closed(self) -> bool:
        """SIGKILL of what reads the sweep's output."""
        return self._under_way() and self._world.stop_reading()

    def tracking_server_killed(self) -> bool:
        """SIGKILL of MLflow's server, which comes back later."""
        if not self._under_way() or any(bring == self._world.server.start for _, bring in self._back):
            return False
        self._world.server.kill()
        self._later(self._world.server.start)
        return True

    def storage_read_only(self) -> bool:
        """The storage can't be written for a while."""
        if not self._under_way() or any(bring == self._writable for _, bring in self._back):
            return False
        if not _immutable(self.storage, "+i"):
            _immutable(self.storage, "-i")
            return False
        self._later(self._writable)
        return True

    def checkpoint_torn(self) -> bool:
        """The newest checkpoint of a trial that runs is cut in half, and its process killed."""
        return self._tear("checkpoints", "*.pt")

    def record_torn(self) -> bool:
        """The newest epoch's record of a trial that runs is cut in half, and its process killed."""
        return self._tear("epochs", "*.json")

    def _tear(self, folder: str, pattern: str) -> bool:
        """Cut the newest file of a trial that runs in half, and kill its process."""
        newest = [sorted(place.glob(pattern))[-1:] for place in self.storage.glob(f"trials/*/{folder}")]
        open_ = [path for paths in newest for path in paths if not (path.parents[1] / "final.json").exists()]
        if not open_:
            return False
        path = self._chance.choice(sorted(open_))
        with contextlib.suppress(OSError):
            content = path.read_bytes()
            path.write_bytes(content[: len(content) // 2])
            return self._kill("ray::RayTrainWorker", "ray::TrialDriver")
        return False

    def _wake(self) -> None:
        self._signal_sweep(signal.SIGCONT)

    def _under_way(self) -> bool:
        """Whether the sweep trains something: to start, it needs storage and server."""
        assert self._world.sweep is not None
        leases = (json.loads(path.read_bytes()) for path in self.storage.glob("live/*.json"))
        return any(lease["claims"] and lease["process"] == self._world.sweep.pid for lease in leases)

    def _writable(self) -> None:
        _immutable(self.storage, "-i")

    def _later(self, bring: Callable[[], None]) -> None:
        self._back.append((time.monotonic() + self._chance.uniform(1.0, 6.0), bring))

    def _kill(self, *titles: str, number: int = signal.SIGKILL) -> bool:
        processes = self._world.processes(*titles)
        if not processes:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._chance.choice(processes), number)
            return True
        return False

    def _signal_sweep(self, number: int) -> bool:
        assert self._world.sweep is not None
        if self._world.sweep.poll() is not None:
            return False
        self._world.sweep.send_signal(number)
        return True


def _immutable(folder: Path, change: str) -> bool:
    """Let nothing be made, moved or removed in a folder and those below, by root either; whether that went well."""
    folders = [str(path) for path in (folder, *folder.rglob("*")) if path.is_dir()]
    return subprocess.run(["chattr", change, *folders], capture_output=True, check=False).returncode == 0


KINDS: tuple[tuple[str, int], ...] = (
    ("tune_actor_killed", 6),
    ("worker_killed", 6),
    ("train_controller_killed", 2),
    ("worker_frozen", 1),
    ("node_lost", 3),
    ("checkpoint_torn", 5),
    ("storage_read_only", 6),
    ("tracking_server_killed", 4),
    ("record_torn", 4),
    ("sweep_frozen", 2),
    ("output_closed", 1),
    ("sweep_killed", 1),
    ("interrupted", 1),
    ("terminated", 1),
    ("hung_up", 1),
)
"""Faults, and how often each is drawn."""


CAPPED = ("sweep_killed", "interrupted", "terminated", "hung_up", "sweep_frozen", "tracking_server_killed")
"""Faults that can always strike: they don't, beyond their share, so that others find something to break."""


def draw_fault(chance: random.Random, so_far: Mapping[str, int], only: str = "") -> str:
    """Return the name of a fault: any, or the one that is wanted only."""
    if only:
        return only
    room = (sum(so_far.values()) + 4) / sum(weight for _, weight in KINDS)
    kinds = [(name, weight) for name, weight in KINDS if name not in CAPPED or so_far.get(name, 0) < weight * room]
    return chance.choices([name for name, _ in kinds], [weight for _, weight in kinds])[0]


def described(name: str) -> str:
    """Return what a fault is, for a table."""
    return str(getattr(Faults, name).__doc__).rstrip(".")


def settings(**changes: Any) -> str:
    """Return the text of the space."""
    return SPACE.replace("EPOCHS", str(changes["epochs"]))
