"""Addresses without a cluster, and a start of Ray that fails."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sweep.cluster import connection
from sweep.cluster.connection import connect
from trainables.errors import BadInputError


def test_a_ray_that_cant_start_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    started: list[subprocess.Popen[bytes]] = []

    def init(**_: Any) -> None:
        started.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        raise RuntimeError("the head didn't start in time")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RuntimeError, match="in time"), connection._local(tmp_path):
        pass
    assert started[0].wait(5) == -9


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("127.0.0.1:1", "no Ray cluster answers there"),
        ("somewhere", "give HOST:PORT"),
        ("ray://127.0.0.1:10001", "Ray's client can't run sweeps"),
    ],
)
def test_an_address_without_a_cluster_is_bad_input(address: str, message: str) -> None:
    with pytest.raises(BadInputError, match=message), connect(address):
        pass
