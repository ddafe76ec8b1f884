"""A cluster that goes under a running sweep: by `ray down`, and by another head in its place, as a second `ray up`."""

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import pytest
from cluster.test_cluster_up import TINY
from support.paths import ROOT
from support.ports import free_port
from support.ray_head import head

from sweep.records.sweep_storage import SweepStorage
from trainables.data.preparing.prepare import prepare

SPACE = """
from dataclasses import replace
from search_spaces.quickstart import SPACE as QUICKSTART
SPACE = replace(QUICKSTART, baselines=())
"""
ALONE = {"RAY_AUTH_MODE": "disabled"}
OPTIONS = ("--num-cpus=1", "--include-dashboard=false")


class Sweep:
    """A sweep of one long trial on a cluster."""

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        prepare("digits", root=folder / "data")
        (folder / "space.py").write_text(SPACE)
        fields = [field for field in TINY if not field.startswith(("epochs=", "temperature="))]
        settings = [part for field in (*fields, "epochs=40", "temperature=0.5") for part in ("--set", field)]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sweep.run", "--space", "space.py", "--address", f"127.0.0.1:{port}"),
                *settings,
                *("--name", "gone"),
                *options,
            ],
            cwd=folder,
            env={**os.environ, **ALONE, "PYTHONPATH": str(ROOT), "SWEEP_DATA": str(folder / "data")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process.kill()
        self.process.wait()

    def read_until(self, text: str) -> None:
        """Read its output until a line has the text, or to its end."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said += line
            if text and text in line:
                return
        assert not text, self.said

    def end(self) -> int:
        """Read the rest, and return its exit code."""
        self.read_until("")
        return self.process.wait(timeout=60)


@pytest.mark.slow
def test_a_cluster_that_is_taken_down_ends_the_sweep_in_good_order(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        with head(*OPTIONS, environment=ALONE, port=port, workers_first=0.5):
            sweep = stack.enter_context(Sweep(tmp_path, port))
            sweep.read_until("epoch 3/40")
        assert sweep.end() == 3, sweep.said
    last = sweep.said.splitlines()[-1]
    assert last.startswith("the cluster at ")
    assert f":{port} is gone: its head node runs no Ray any more; 1 trials are left. Continue from the last" in last
    assert last.endswith("python -m sweep.run --resume gone")
    assert "Traceback" not in sweep.said
    assert "\ngone: " in sweep.said, "the table"
    storage = SweepStorage(tmp_path / ".sweep")
    (entry,) = storage.record("gone").trials
    (attempt,) = storage.trial_of(entry).attempts()
    assert attempt.outcome == "interrupted"


@pytest.mark.slow
def test_a_sweep_that_may_wait_goes_on_where_the_next_cluster_comes_up(tmp_path: Path) -> None:
    port = free_port()
    with ExitStack() as stack:
        with head(*OPTIONS, environment=ALONE, port=port):
            sweep = stack.enter_context(Sweep(tmp_path, port, "--wait-cluster", "4"))
            sweep.read_until("epoch 3/40")
        with head(*OPTIONS, environment=ALONE, port=port):
            assert sweep.end() == 0, sweep.said
    assert "waiting 4 minutes for one, to continue there" in sweep.said
    storage = SweepStorage(tmp_path / ".sweep")
    (entry,) = storage.record("gone").trials
    first, second = storage.trial_of(entry).attempts()
    assert (first.outcome, second.outcome) == ("interrupted", "finished")
    assert second.first_epoch is not None
    assert second.first_epoch > 2, "from its last checkpoint"
