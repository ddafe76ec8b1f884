"""MLflow's real server: it shows runs, and its end costs nothing."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from support.tracked_trials import (
    begin,
    entry,
    epoch_record,
    project,
    rows,
    runs,
    trial_files,
)

from sweep.cluster import processes
from sweep.records.paths import tracking_database
from sweep.records.sweep_storage import SweepStorage
from sweep.tracking.server import TrackingServer, served_store
from sweep.tracking.tracker import SweepTracker
from trainables.errors import BadInputError
from trainables.storage.trial_records import EpochRecord


@pytest.mark.slow
def test_a_server_shows_it_and_its_death_costs_nothing(storage: Path, caplog: pytest.LogCaptureFixture) -> None:
    SweepTracker.open(None, storage=storage).close(1.0)
    trial_files(storage / "trials" / "t1")
    with TrackingServer(served_store(None, storage)) as server:
        tracker = SweepTracker.open(server.url, storage=storage)
        begin(tracker)
        tracker.write_trial(entry(), SweepStorage(storage))
        deadline = time.monotonic() + 60.0
        while tracker.missing and time.monotonic() < deadline:
            time.sleep(0.1)
        assert tracker.missing == 0
        assert rows(storage, "metrics") == 3 * 5
    started = time.monotonic()
    tracker.start_trial(entry("t2"), SweepStorage(storage))
    tracker.submit_epoch("t2", epoch_record(1))
    tracker.finish_trial("t2")
    tracker.finish_sweep()
    assert time.monotonic() - started < 10.0
    assert tracker.close(30.0) == 4
    assert "4 writes to MLflow" in caplog.text
    assert "Connection refused" in caplog.text.partition("4 writes to MLflow")[2], "with the reason"
    # Later, from the files:
    tracker = SweepTracker.open(None, storage=storage)
    begin(tracker)
    tracker.write_trial(entry(), SweepStorage(storage))
    tracker.write_trial(entry("t2"), SweepStorage(storage))
    tracker.finish_sweep()
    assert tracker.close(60.0) == 0
    assert rows(storage, "metrics") == 2 * 3 * 5
    assert rows(storage, "runs") == 3


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_pages_end_without_leaving_a_process(storage: Path, number: signal.Signals) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "sweep.ui", "--storage", str(storage)], stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program.stdout:
        assert program.stdout.readline().startswith("http://127.0.0.1:")
        servers = processes_with(f"sqlite:///{tracking_database(storage)}")
        assert servers
        program.send_signal(number)
        assert program.wait(30.0) == (-number if number == signal.SIGKILL else 0)
    deadline = time.monotonic() + (10.0 if number == signal.SIGKILL else 0.0)
    while left := [server for server in servers if processes.runs(server)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert not processes_with(str(tracking_database(storage)))


@pytest.mark.slow
def test_the_pages_are_their_own_whoever_listens_and_whatever_proxy_is_set(storage: Path) -> None:
    """With a real second server at the port, on this address and on all, and a proxy that answers nothing."""
    with socket.socket() as dead:
        dead.bind(("127.0.0.1", 0))
        proxy = f"http://127.0.0.1:{dead.getsockname()[1]}"
    names = ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY")
    environment = {**os.environ, **dict.fromkeys(names, proxy), "no_proxy": ""}
    command = [sys.executable, "-m", "sweep.ui", "--storage", str(storage)]
    for address in ("127.0.0.1", "0.0.0.0"):
        other = ThreadingHTTPServer((address, 0), SimpleHTTPRequestHandler)
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            taken = str(other.server_port)
            done = subprocess.run(
                [*command, "--port", taken], env=environment, capture_output=True, text=True, timeout=60, check=False
            )
        finally:
            other.shutdown()
            other.server_close()
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"error: --port {taken}: can't be used")
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stdout.readline().startswith("http://127.0.0.1:")
        program.terminate()
        assert program.wait(30.0) == 0


@pytest.mark.slow
def test_several_programs_may_open_a_fresh_file_at_once(tmp_path: Path) -> None:
    imports = "import sys; from sweep.tracking.tracker import SweepTracker"
    code = f"{imports}; SweepTracker.open(None, storage=sys.argv[1]).close(1.0)"
    environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    command = [sys.executable, "-c", code, str(tmp_path)]
    programs = [subprocess.Popen(command, env=environment) for _ in range(4)]
    assert [program.wait(120.0) for program in programs] == [0, 0, 0, 0]


def processes_with(text: str) -> list[int]:
    """Return the processes that have a text in their command line or environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            content = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
        except OSError:
            continue
        if text.encode() in content:
            found.append(int(folder.name))
    return found


def test_metrics_that_mlflow_refuses_are_named_and_the_others_of_their_batch_written(
    storage: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = trial_files(storage / "trials" / "t1", epochs=0, finished=False)
    many = {f"test/metric{number}": number / 10 for number in range(9)}
    refused = {"test/ends/": 0.5, "test/a?b": 0.5}
    record = EpochRecord(epoch=1, time_ms=1_700_000_000_001, seconds=1.0, metrics={**many, **refused})
    files.write_epoch(record)
    assert project(storage) == 0, "nothing is tried again"
    run = runs(storage)["digits-b64"]
    assert many.items() <= run.data.metrics.items()
    assert not refused.keys() & run.data.metrics.keys()
    said = sorted(one.getMessage() for one in caplog.records if "refused by MLflow" in one.getMessage())
    assert said == [f"metric {name} of digits-b64 refused by MLflow" for name in sorted(refused)]


@pytest.mark.slow
def test_a_database_that_mlflow_cannot_open_is_said_in_two_lines(storage: Path) -> None:
    with closing(sqlite3.connect(tracking_database(storage))) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(BadInputError, match="did not start:") as raised, TrackingServer(served_store(None, storage)):
        pass
    _, *others = str(raised.value).splitlines()
    assert others == [next(line for line in others if "later" in line)]
