"""The process group of several workers listens where the cluster's other servers do, not on every interface."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

LISTEN, LOOPBACK = "0A", {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
TWO_WORKERS = """
import os, sys
from pathlib import Path
from sweep.cluster.connection import connect
from sweep.cluster.processes import descendants
from sweep.planning.resources import TrialShape
from security.test_rendezvous import listening

with connect(None):
    from sweep.cluster.worker_group import WarmGroup

    group = WarmGroup(TrialShape(workers=2, threads=1, use_gpu=False), Path(sys.argv[1]))
    places = group.places()
    assert len(places) == 2
    found = {process: listening(process) for process in descendants(os.getpid())}
    for place in places:
        print("WORKER", *found[place.process])
    print("ALL", *{address for addresses in found.values() for address in addresses})
    group.close()
"""


def listening(process: int) -> list[str]:
    """Return the addresses where a process listens, as the kernel writes them."""
    inodes = set()
    for link in Path(f"/proc/{process}/fd").glob("*"):
        try:
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
        except OSError:
            continue
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [fields[1].partition(":")[0] for fields in lines if fields[3] == LISTEN and fields[9] in inodes]


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="open sockets are read from /proc")
def test_ranks_meet_at_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.cluster.process_group import listen, rendezvous

    before = set(listening(os.getpid()))
    listener = listen("127.0.0.1")
    host, port = listener.getsockname()
    stores: list[Any] = []
    other = threading.Thread(target=lambda: stores.append(rendezvous(host, port, 1, 2, None)))
    other.start()
    store = rendezvous(host, port, 0, 2, listener)
    other.join(30)
    store.set("key", "value")
    assert stores[0].get("key") == b"value"
    assert set(listening(os.getpid())) - before <= LOOPBACK
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((socket.gethostbyname("localhost").replace("127.0.0.1", "127.0.0.2"), port), timeout=5)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="open sockets are read from /proc")
def test_two_workers_of_a_sweep_listen_on_loopback_only(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", TWO_WORKERS, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stderr
    workers = [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("WORKER")]
    assert len(workers) == 2
    assert all(workers), "gloo, or the rendezvous, listens in each"
    (everywhere,) = [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("ALL")]
    assert everywhere <= LOOPBACK
