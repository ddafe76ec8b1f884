"""A sweep whose process can't be seen, or whose machine's clock differs, isn't taken for dead."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

from sweep.records import lease as lease_module
from sweep.records import process_identity
from sweep.records.lease import LeaseHolder, holder_of, lease
from sweep.records.process_identity import has_ended, machine_identity, start_time
from sweep.records.removal import plan_removal
from sweep.records.stop_requests import EVERYTHING, stops
from sweep.records.sweep_record import SweepRecord
from sweep.records.sweep_storage import SweepStorage
from sweep.stop import main as stop
from trainables.errors import BadInputError

NOBODY = 65534
MINUTES = 60_000
HOLD = """
import sys, time
from sweep.records.lease import LeaseHolder
from sweep.records.sweep_storage import SweepStorage

with LeaseHolder(SweepStorage(sys.argv[1]), "mine"):
    print("holds", flush=True)
    time.sleep(60)
"""
ASK = """
import os, sys
from sweep.records.lease import holder_of
from sweep.records.sweep_storage import SweepStorage

if sys.argv[2] != "0":
    os.setresuid(*[int(sys.argv[2])] * 3)
print(holder_of(SweepStorage(sys.argv[1]), "mine") is not None)
"""


@pytest.fixture
def storage(tmp_path: Path) -> SweepStorage:
    return SweepStorage(tmp_path)


@pytest.fixture
def holder(storage: SweepStorage) -> Iterator["subprocess.Popen[str]"]:
    with program(HOLD, str(storage.storage.root)) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == "holds\n"
            yield running
        finally:
            running.kill()


def program(code: str, *arguments: str, before: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [*before, sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def answer(code: str, *arguments: str, before: tuple[str, ...] = ()) -> str:
    with program(code, *arguments, before=before) as asked:
        return asked.communicate(timeout=60)[0].strip()


def rewrite(storage: SweepStorage, **changes: object) -> None:
    content = storage.storage.read("live/mine.json")
    assert content is not None
    storage.storage.write("live/mine.json", json.dumps({**json.loads(content), **changes}).encode())


def can_unshare(*options: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", *options, "true"], check=False).returncode == 0


@pytest.mark.slow
def test_a_process_of_another_container_of_the_same_host_name_is_not_taken_for_dead(
    storage: SweepStorage, holder: "subprocess.Popen[str]"
) -> None:
    if not can_unshare("--pid", "--fork", "--mount-proc"):
        pytest.skip("needs root and namespaces")
    seen = answer(ASK, str(storage.storage.root), "0", before=("unshare", "--pid", "--fork", "--mount-proc"))
    assert seen == "True"


def test_a_process_that_proc_hides_is_not_taken_for_dead(
    storage: SweepStorage, holder: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under hidepid=2 for another user: kill is refused, and /proc doesn't show the process."""

    def refuse(process: int, number: int) -> None:
        raise PermissionError

    held, machine = lease(storage, "mine"), machine_identity()
    assert held is not None
    assert held.machine == machine
    monkeypatch.setattr(os, "kill", refuse)
    monkeypatch.setattr(process_identity, "machine_identity", lambda: machine)
    monkeypatch.setattr(process_identity, "_PROC", Path("/nowhere"))
    assert held.alive


def test_a_sweep_of_another_user_is_seen(storage: SweepStorage, holder: "subprocess.Popen[str]") -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    # Not below pytest's folder, which another run of the tests closes to others.
    with tempfile.TemporaryDirectory() as open_to_all:
        root = Path(open_to_all) / "storage"
        shutil.copytree(storage.storage.root, root)
        for folder in (Path(open_to_all), root, *(path for path in root.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        for file in (path for path in root.rglob("*") if path.is_file()):
            file.chmod(0o644)
        assert answer(ASK, str(root), str(NOBODY)) == "True"


def test_a_process_number_that_was_given_away_again_holds_nothing(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine"):
        pass
    with program("import time; time.sleep(60)") as other:
        assert not has_ended(machine_identity(), other.pid, start_time(other.pid))
        assert has_ended(machine_identity(), other.pid, "12345")
        assert not has_ended("another boot/pid:[1]/time:[1]", other.pid, "12345")
        assert not has_ended("", 2**22 - 3, "")
        other.kill()
        other.wait()
        assert has_ended(machine_identity(), other.pid, "")


@pytest.fixture
def elsewhere(storage: SweepStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease of a machine that can't be looked at."""
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(lease_module, "WATCH_SECONDS", 0.5)
    monkeypatch.setattr(lease_module, "GLANCE_SECONDS", 0.5)
    live = LeaseHolder(storage, "mine")
    live._write()
    rewrite(storage, host="elsewhere", machine="another boot")


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.usefixtures("elsewhere")
def test_a_clock_that_differs_by_minutes_hides_no_sweep(
    storage: SweepStorage, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    over, record = threading.Event(), SweepRecord.model_construct(name="mine", trials=())
    monkeypatch.setattr(SweepStorage, "record", lambda *_: record)

    def renew() -> None:
        while not over.wait(0.1):
            rewrite(storage, time_ms=lease_module.now_ms() + minutes * MINUTES)

    renewing = threading.Thread(target=renew)
    rewrite(storage, time_ms=lease_module.now_ms() + minutes * MINUTES)
    renewing.start()
    try:
        assert holder_of(storage, "mine") is not None
        with pytest.raises(BadInputError, match="is running"):
            plan_removal(storage, record)
        with pytest.raises(BadInputError, match="is running already"), LeaseHolder(storage, "mine"):
            pass
        stop("mine", trial=None, storage=str(storage.storage.root))
        assert stops(storage, "mine") == [EVERYTHING]
    finally:
        over.set()
        renewing.join()


@pytest.mark.parametrize("minutes", [-5, 5])
@pytest.mark.usefixtures("elsewhere")
def test_a_lease_that_nobody_renews_is_taken_whatever_its_clock(storage: SweepStorage, minutes: int) -> None:
    said: list[str] = []
    rewrite(storage, time_ms=lease_module.now_ms() + minutes * MINUTES)
    with LeaseHolder(storage, "mine", say=said.append):
        assert lease(storage, "mine").process == os.getpid()  # type: ignore[union-attr]
    assert "watching whether it is renewed" in said[0]


@pytest.mark.usefixtures("elsewhere")
def test_a_trial_of_a_lease_in_doubt_is_left_alone_until_the_doubt_is_over(storage: SweepStorage) -> None:
    rewrite(storage, claims=["trial"], time_ms=lease_module.now_ms() - 5 * MINUTES)
    with LeaseHolder(storage, "other") as other:
        assert not other.claim("trial")
        time.sleep(0.6)
        assert other.claim("trial")


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"process": -1}'])
@pytest.mark.usefixtures("elsewhere")
def test_a_lease_that_is_none_is_watched_and_then_nobodys(storage: SweepStorage, content: bytes) -> None:
    """Whoever runs the sweep would write it again; of another sweep it is no matter."""
    storage.storage.write("live/mine.json", content)
    assert lease(storage, "mine") is None
    with LeaseHolder(storage, "other") as other:
        assert other.claim("trial")
    began = time.monotonic()
    with LeaseHolder(storage, "mine"):
        assert lease(storage, "mine").process == os.getpid()  # type: ignore[union-attr]
    assert time.monotonic() - began >= lease_module.WATCH_SECONDS


def test_a_torn_lease_that_its_holder_writes_again_is_held(storage: SweepStorage) -> None:
    with LeaseHolder(storage, "mine") as live:
        storage.storage.write("live/mine.json", b"")
        again = threading.Timer(0.3, live._renew)
        again.start()
        assert holder_of(storage, "mine", watch_seconds=20.0) is not None
        again.join()
