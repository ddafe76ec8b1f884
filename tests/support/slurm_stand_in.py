"""A stand-in for Slurm: jobs whose nodes are this machine, steps as local processes, options as srun reads them.

It keeps what has gone wrong in scripts: a step starts one task for each of the job's unless told otherwise, a task has
one core unless told otherwise, a script runs from a copy in another folder, and a warning goes to its shell alone.
"""

import argparse
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

FOLDER = "STAND_IN_FOLDER"
_BATCH_OPTIONS = (
    "job-name",
    "nodes",
    "ntasks-per-node",
    "cpus-per-task",
    "time",
    "output",
    "open-mode",
    "requeue",
    "signal",
    "no-kill",
)
_ids = itertools.count(1_000_000 + os.getpid() % 10_000 * 100)


def srun(words: list[str]) -> int:
    """Run a step's tasks as processes; return the largest exit code. Unknown options are an error, as in Slurm."""
    parser = argparse.ArgumentParser(prog="srun", allow_abbrev=False)
    parser.add_argument("--nodes", "-N", type=int)
    parser.add_argument("--ntasks", "-n", type=int)
    parser.add_argument("--ntasks-per-node", type=int)
    parser.add_argument("--cpus-per-task", "-c", type=int, default=1)  # since 22.05 not taken over from the job
    parser.add_argument("--nodelist", "-w", default="")
    parser.add_argument("--exclude", "-x", default="")
    parser.add_argument("--kill-on-bad-exit", type=int, default=0)
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(words)
    job = os.environ["SLURM_JOB_NODELIST"].split(",")
    nodes = [node for node in job if node not in options.exclude.split(",")]
    nodes = [node for node in nodes if not options.nodelist or node in options.nodelist.split(",")]
    nodes = nodes[: options.nodes or len(nodes)]
    assert len(nodes) == (options.nodes or len(nodes)), f"srun: {options.nodes} nodes asked for, {nodes} left"
    tasks = options.ntasks or int(os.environ["SLURM_NTASKS"])
    processes: list[subprocess.Popen[bytes]] = []
    for number in (signal.SIGTERM, signal.SIGINT):  # handed on to every task
        signal.signal(number, lambda caught, _: [process.send_signal(caught) for process in processes])
    for rank in range(tasks):
        place = {
            "SLURM_PROCID": str(rank),
            "SLURM_LOCALID": str(rank // len(nodes)),
            "SLURM_NODEID": str(rank % len(nodes)),
            "SLURMD_NODENAME": nodes[rank % len(nodes)],
            "SLURM_CPUS_PER_TASK": str(options.cpus_per_task),
            "SLURM_NTASKS": str(tasks),
        }
        processes.append(subprocess.Popen(options.command, env=os.environ | place))
    codes = []
    for process in processes:
        codes.append(process.wait())
        if codes[-1] and options.kill_on_bad_exit:
            for other in processes:
                other.terminate()
    return max(code if code >= 0 else 128 - code for code in codes)


def scontrol(words: list[str]) -> int:
    """`show hostnames LIST` and `requeue JOB`."""
    if words[:2] == ["show", "hostnames"]:
        print("\n".join(words[2].split(",")))
        return 0
    assert words[0] == "requeue", words
    (Path(os.environ[FOLDER]) / "requeued").write_text(words[1])
    return 0


class Job:
    """A batch job on `nodes` nodes of `cpus` cores each; leaving the block ends all of its processes."""

    def __init__(
        self,
        script: Path,
        *arguments: str,
        folder: Path,
        environment: Mapping[str, str],
        nodes: int = 1,
        cpus: int = 1,
        submitted_in: Path | None = None,
        task: int | None = None,
    ) -> None:
        self.id = next(_ids)
        self._folder = folder / f"job-{self.id}"
        commands = self._folder / "bin"
        commands.mkdir(parents=True)
        for name in ("srun", "scontrol"):
            (commands / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" {name} "$@"\n')
            (commands / name).chmod(0o755)
        self._copy = Path(shutil.copy(script, self._folder / "slurm_script"))
        self.options = _batch_options(script)
        self._command = ["bash", str(self._copy), *arguments]
        self._submitted_in = submitted_in or Path.cwd()
        names = [f"node-{number}" for number in range(nodes)]
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SWEEP", "RAY"))},
            **environment,
            "PATH": f"{commands}:{environment.get('PATH', os.environ['PATH'])}",
            "SLURM_JOB_ID": str(self.id),
            "SLURM_JOB_NODELIST": ",".join(names),
            "SLURM_JOB_NUM_NODES": str(nodes),
            "SLURM_NTASKS": str(nodes),
            "SLURM_CPUS_PER_TASK": str(cpus),
            "SLURM_SUBMIT_DIR": str(self._submitted_in),
            FOLDER: str(self._folder),
        }
        if task is not None:
            self._environment |= {"SLURM_ARRAY_JOB_ID": "77", "SLURM_ARRAY_TASK_ID": str(task)}
        self._starts = 0
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        left = self.processes()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=20)
        if self._process is not None:
            self._process.wait()

    def start(self) -> None:
        """Start the script, or start it again as Slurm does with a job that was requeued."""
        count = {"SLURM_RESTART_COUNT": str(self._starts)} if self._starts else {}
        (self._folder / "requeued").unlink(missing_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._submitted_in,
                env=self._environment | count,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._starts += 1

    def warn(self, number: int = signal.SIGUSR1) -> None:
        """Send a signal to the script's shell alone, as `--signal=B:USR1@...` does."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float) -> int:
        """Return the script's exit code."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the job runs after {seconds} s:\n{self.log()}") from None

    def runs(self) -> bool:
        """Return whether the script runs."""
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        """Return what the job has printed."""
        return (self._folder / "log").read_text(errors="replace")

    def requeued(self) -> str | None:
        """Return the id that was handed back to Slurm, or None."""
        file = self._folder / "requeued"
        return file.read_text() if file.exists() else None

    def processes(self) -> list[psutil.Process]:
        """Return the job's processes, found by its session, by descent and by the folder of its Ray."""
        assert self._process is not None
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
                ours = os.getsid(process.pid) == self._process.pid or self._process.pid in (
                    parent.pid for parent in process.parents()
                )
                if (ours or f"/ray-{self.id}-" in " ".join(process.cmdline())) and process.status() != "zombie":
                    found.append(process)
        return found

    def left(self, seconds: float = 60) -> list[str]:
        """Return the command lines of processes that still run after the job's end, when they had time to go."""
        deadline = time.monotonic() + seconds
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        lines = []
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                lines.append(" ".join(process.cmdline()))
        return lines


def _batch_options(script: Path) -> dict[str, str]:
    """Return a script's #SBATCH lines; they end at its first command."""
    options: dict[str, str] = {}
    for line in script.read_text().splitlines():
        if not line.startswith("#"):
            break
        if line.startswith("#SBATCH"):
            name, _, value = line.removeprefix("#SBATCH --").partition("=")
            assert name in _BATCH_OPTIONS, line
            options[name] = value
    return options


if __name__ == "__main__":
    sys.exit({"srun": srun, "scontrol": scontrol}[sys.argv[1]](sys.argv[2:]))
