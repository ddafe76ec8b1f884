"""MLflow's pages on a shared machine: other users need a password, and find it nowhere."""

import asyncio
import base64
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

from sweep.records.paths import tracking_database
from sweep.tracking.pages import PasswordGuard, WithoutAssistant, authorization
from sweep.tracking.server import TrackingServer, served_store
from trainables.errors import BadInputError

API = "api/2.0/mlflow"
PATHS = (
    ("GET", ""),
    ("GET", "health"),
    ("GET", "version"),
    ("GET", "static-files/index.html"),
    ("POST", f"{API}/experiments/search"),
    ("POST", f"{API}/runs/create"),
    ("POST", f"{API}/runs/delete"),
    ("POST", f"ajax-{API}/registered-models/create"),
    ("PUT", "api/2.0/mlflow-artifacts/artifacts/1/x"),
    ("DELETE", "api/2.0/mlflow-artifacts/artifacts/1/x"),
    ("POST", "graphql"),
    ("GET", "ajax-api/3.0/mlflow/assistant/config"),
    ("POST", "gateway/any/invocations"),
    ("POST", "v1/traces"),
    ("GET", "server-info"),
)


def answer(scope: dict[str, Any], password: str = "right") -> tuple[list[dict[str, Any]], bool]:
    """Return what the guard sends, and whether what it guards was reached."""
    sent: list[dict[str, Any]] = []
    reached = []

    async def inner(*_: Any) -> None:
        reached.append(True)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    asyncio.run(PasswordGuard(inner, password)(scope, receive, send))
    return sent, bool(reached)


@pytest.mark.parametrize(
    "given",
    [
        [],
        [b"Basic"],
        [authorization("wrong").encode()],
        [b"Basic " + base64.b64encode(b"admin:right")],
        [b"Bearer right"],
        [authorization("right").encode(), authorization("wrong").encode()],
        [authorization("right").encode() + b" "],
        ["Basic \u00e9".encode("latin-1")],
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_without_the_password_nothing_is_reached(given: list[bytes], kind: str) -> None:
    sent, reached = answer({"type": kind, "path": "/", "headers": [(b"authorization", value) for value in given]})
    assert not reached
    assert sent[0] == {"type": "websocket.close", "code": 1008} if kind == "websocket" else sent[0]["status"] == 401


def test_with_it_everything_is() -> None:
    assert answer({"type": "http", "headers": [(b"authorization", authorization("right").encode())]})[1]
    assert answer({"type": "lifespan"})[1]


@pytest.mark.parametrize(("path", "reached"), [("config", False), ("Message", False), ("", False), (None, True)])
def test_mlflows_assistant_which_runs_commands_is_never_reached(path: str | None, reached: bool) -> None:
    forwarded, sent = [], []

    async def inner(*_: Any) -> None:
        forwarded.append(True)

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    asked = "/api/2.0/mlflow/runs/search" if path is None else f"/ajax-api/3.0/mlflow/assistant/{path}"
    asyncio.run(WithoutAssistant(inner)({"type": "http", "path": asked}, receive, send))
    assert bool(forwarded) is reached
    assert [message["status"] for message in sent[:1]] == ([] if reached else [404])


def test_a_port_that_somebody_else_has_is_refused_before_a_password_is_sent_there(tmp_path: Path) -> None:
    tracking_database(tmp_path).touch()
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BadInputError, match=f"--port {port}: can't be used"):
            TrackingServer(served_store(f"sqlite:///{tracking_database(tmp_path)}", None), port, "secret").__enter__()


@pytest.fixture
def storage(tmp_path: Path, mlflow_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(mlflow_database, tracking_database(tmp_path))
    return tmp_path


def status(url: str, method: str, password: str = "") -> int:
    headers = {"Content-Type": "application/json", **({"Authorization": authorization(password)} if password else {})}
    data = None if method == "GET" else b"{}"
    request = urllib.request.Request(url, method=method, headers=headers, data=data)
    try:
        with urllib.request.urlopen(request, timeout=60) as found:
            return int(found.status)
    except urllib.error.HTTPError as error:
        return error.code


def command_lines() -> list[bytes]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found.append(path.read_bytes())
    return found


def test_a_tracking_server_that_cant_be_run_leaves_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise BlockingIOError("no room for another process")

    monkeypatch.setattr("sweep.tracking.server.subprocess.Popen", no_room)
    (database := Path(tracking_database(tmp_path))).touch()
    store = served_store(f"sqlite:///{database}", None)
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(BlockingIOError), TrackingServer(store):
        pass
    assert len([*Path("/proc/self/fd").iterdir()]) == before


@pytest.mark.slow
def test_another_user_changes_nothing_in_the_pages_and_finds_no_password(storage: Path) -> None:
    program = subprocess.Popen(
        [sys.executable, "-m", "sweep.ui", "--storage", str(storage)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert program.stdout is not None
    with program.stdout:
        try:
            url = re.match(r"http://127\.0\.0\.1:\d+", program.stdout.readline())
            assert url is not None
            password = re.match(r"user: sweep  password: (\S{24})\n", program.stdout.readline())
            assert password is not None
            for method, path in PATHS:
                assert status(f"{url[0]}/{path}", method) == 401, path
                assert status(f"{url[0]}/{path}", method, "guessed") == 401, path
            search = f"{url[0]}/{API}/experiments/get-by-name?experiment_name=Default"
            assert status(search, "GET", password[1]) == 200
            assert status(f"{url[0]}/", "GET", password[1]) == 200
            lines = command_lines()
            assert not any(password[1].encode() in line for line in lines)
            database = str(tracking_database(storage)).encode()
            assert not any(database in line for line in lines)
        finally:
            program.send_signal(signal.SIGTERM)
            assert program.wait(30) == 0


@pytest.mark.slow
def test_everybody_is_let_in_only_where_that_is_asked_for(storage: Path) -> None:
    with TrackingServer(served_store(None, storage)) as server:
        assert status(f"{server.url}/health", "GET") == 200
        assert status(f"{server.url}/ajax-api/3.0/mlflow/assistant/config", "GET") == 404
