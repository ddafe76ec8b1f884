"""A head node as `ray start` makes it, and programs that use it."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from support.ports import free_port
from sweep.cluster.processes import descendants, runs
from sweep.cluster.ray_names import DRIVER_RESOURCE

RAY = str(Path(sys.executable).with_name("ray"))


@contextlib.contextmanager
def head(*options: str, environment: Mapping[str, str], port: int, workers_first: float = 0.0) -> Iterator[Path]:
    """Run `ray start --head` until the end of the block; yield its folder. Nothing else on the machine is touched.

    The processes are killed at once, or Ray's workers `workers_first` seconds before all others.
    """
    # Ray's sockets have long paths below it, and the system's limit is 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    command = [RAY, "start", "--head", "--block", f"--port={port}", f"--temp-dir={folder}", "--disable-usage-stats"]
    # Ports that are the same for every head unless told otherwise: another may run on this machine.
    command += [f"--ray-client-server-port={free_port()}", f"--dashboard-agent-listen-port={free_port()}"]
    command += ["--min-worker-port=0", "--max-worker-port=0"]
    with (folder / "start.log").open("w") as log:
        process = subprocess.Popen(
            [*command, "--node-ip-address=127.0.0.1", f"--resources={json.dumps({DRIVER_RESOURCE: 100})}", *options],
            env={**os.environ, **environment},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while "Ray runtime started" not in (folder / "start.log").read_text():
            assert process.poll() is None, (folder / "start.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield folder
    finally:
        ours = {process.pid, *descendants(process.pid)}
        if workers_first:
            workers = {one for one in ours if _title(one).startswith("ray::")}
            assert workers, "no worker was found"
            _kill(workers)
            time.sleep(workers_first)
        _kill(ours)
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            if runs(pid):
                os.kill(pid, signal.SIGKILL)


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().partition(b"\0")[0].decode()
    except OSError:
        return ""


def run(*command: str, cwd: Path, code: int = 0, timeout: float = 300, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=cwd,
        # What Ray of the tests before left in this process is not for these clusters.
        env={**os.environ, "RAY_AUTH_MODE": "disabled", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def wait_for_jobs(submit: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Submit a job that does nothing until it is taken: a head's job agent comes later than its page."""
    deadline = time.monotonic() + 120
    while True:
        try:
            run(*submit, "--", "true", cwd=folder, **environment)
            return
        except AssertionError as refused:
            if "No available agent" not in str(refused) or time.monotonic() > deadline:
                raise
