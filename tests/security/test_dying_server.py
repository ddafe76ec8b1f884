"""An MLflow server that dies while a sweep is shown in it: calls end soon, what is missing is said with a reason."""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sweep.tracking.background_writer import BackgroundWriter, QueuedWrite
from sweep.tracking.store import TrackingStore

EXPERIMENT = {"experiment_id": "1", "name": "sweep", "artifact_location": "", "lifecycle_stage": "active"}
SETTINGS = ("MAX_RETRIES", "TIMEOUT", "BACKOFF_FACTOR", "BACKOFF_JITTER")


class Dying(BaseHTTPRequestHandler):
    """Answers what opening a store asks; later what it is told to."""

    mode: ClassVar[str] = "well"
    over: ClassVar[threading.Event] = threading.Event()

    def do_GET(self) -> None:
        if self.mode == "silent":
            self.over.wait(60.0)
            return
        body = json.dumps({"experiment": EXPERIMENT}).encode()
        self.send_response(200 if self.mode == "well" else 503)
        if self.mode == "busy":
            self.send_header("Retry-After", "3600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the library's name

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadingHTTPServer]:
    for name in SETTINGS:
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}", raising=False)
    monkeypatch.delenv("MLFLOW_HTTP_RESPECT_RETRY_AFTER_HEADER", raising=False)
    monkeypatch.setattr(Dying, "mode", "well")
    monkeypatch.setattr(Dying, "over", threading.Event())
    with ThreadingHTTPServer(("127.0.0.1", 0), Dying) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield server
        Dying.over.set()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("mode", ["gone", "broken", "busy", pytest.param("silent", marks=pytest.mark.slow)])
def test_a_call_to_a_server_that_died_after_it_was_opened_ends_soon(
    server: ThreadingHTTPServer, mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.exceptions import MlflowException

    address = f"http://127.0.0.1:{server.server_address[1]}"
    client = TrackingStore.choose(address, storage=tmp_path, experiment="sweep").connect()
    assert int(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"]) <= 30
    if mode == "silent":
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    if mode == "gone":
        server.shutdown()
        server.server_close()
    Dying.mode = mode
    started = time.monotonic()

    def ask() -> None:
        with pytest.raises(MlflowException):
            client.get_run("0")

    call = threading.Thread(target=ask, daemon=True)
    call.start()
    call.join(12.0)
    assert not call.is_alive(), f"one call has taken {time.monotonic() - started:.0f} s"


def test_what_is_given_up_is_given_up_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    release = threading.Event()
    writer = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None, pauses=(30.0,))

    def fail(_: list[object]) -> None:
        raise OSError("no route to host")

    assert writer.why_missing() == ""
    writer.submit(QueuedWrite("t1", "files", fail))
    assert writer.close(0.3) == 1
    assert "files of t1 has been tried for" in writer.why_missing()
    assert "no route to host" in writer.why_missing()
    silent = BackgroundWriter(logger=logging.getLogger("test"), recover=lambda: None)
    silent.submit(QueuedWrite("t2", "files", lambda _: bool(release.wait(30.0)) and None))
    assert silent.close(0.3) == 1
    assert re.search(r"files of t2 has been tried for \d+ s, and nothing answers", silent.why_missing())
    release.set()
