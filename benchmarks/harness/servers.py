"""PostgreSQL and MLflow servers for the duration of a benchmark."""

import contextlib
import os
import pwd
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """Start PostgreSQL on its own socket as user nobody, since it refuses to run as root, and yield its URI."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        raise SystemExit(
            "PostgreSQL isn't installed (apt install postgresql); name a server: --store postgresql+psycopg2://..."
        )
    home = folder / "postgresql"
    home.mkdir()
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        folder.chmod(0o755)
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    data = home / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([binaries[-1] / "initdb", "-D", data, "-U", "mlflow", "-A", "trust"], check=True, **quiet, **as_user)
    port = free_port()
    server = subprocess.Popen(
        [binaries[-1] / "postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", home], **quiet, **as_user
    )
    try:
        uri = f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        _until(lambda: _listens(port), server)
        yield uri
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


@contextlib.contextmanager
def mlflow_server(store: str, folder: Path) -> Iterator[str]:
    """Start MLflow's server as in cluster.yaml, and yield its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--workers", "1", "--port", str(port)]
    command += ["--backend-store-uri", store, "--artifacts-destination", str(folder / "artifacts")]
    settings = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    settings["MLFLOW_SQLALCHEMYSTORE_POOL_SIZE"] = "20"
    with (folder / "mlflow.log").open("w") as log:
        server = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        _until(lambda: _healthy(port), server)
        yield f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _healthy(port: int) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
        return True
    return False


def _until(answers: Callable[[], bool], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 180
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"a server didn't start: {process.args}")
        time.sleep(0.2)
