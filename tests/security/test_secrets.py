"""Secrets of addresses and hooks: shown, logged and kept nowhere."""

import contextlib
import http.server
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from support.paths import ROOT

from trainables.data.preparing.partial_file import PartialFile, RemoteFile, RemoteVersion
from trainables.errors import BadInputError
from trainables.printing.redaction import redact, secret_part
from trainables.storage.filesystem import Storage
from trainables.weights.initial_weights import InitialWeights

SECRET = "pl4nted-s3cret"
KEPT_OUT = (
    f"https://me:{SECRET}@host/x",
    f"https://me:{SECRET}/w@host/x",
    f"https://me:p@{SECRET}@host/x",
    f"https://me:12/{SECRET}@host/x",
    f"https://me:a?{SECRET}@host/x",
    f"https://me:a#{SECRET}@host/x",
    f"https://me:a {SECRET}@host/x",
    f"https://me:a'{SECRET}@host/x",
    f'https://me:a"{SECRET}@host/x',
    f"HTTPS://me:{SECRET}@HOST",
    f"https://{SECRET}@host/x",
    f"https://:{SECRET}@host",
    f"postgresql+psycopg2://me:p%2F{SECRET}@db:5432/x",
    f"s3://key:{SECRET}@bucket/x",
    f"https://host/x?password={SECRET}",
    f"https://host/x?a=b&PassWord={SECRET}",
    f"https://host/x?pass%77ord={SECRET}",
    f"https://host/x?sig={SECRET}",
    f"https://host/x?sv=2020-01-01&se=2030&sr=c&sp=r&sig={SECRET}%3D",
    f"https://host/x?client_secret={SECRET}",
    f"https://host/x?X-Amz-Credential=a&X-Amz-Signature={SECRET}",
    f"https://host/x?X-Amz-Credential={SECRET}%2Fus-east-1",
    f"https://host/x?X-Amz-Security-Token={SECRET}",
    f"https://host/x?GoogleAccessId=me&X-Goog-Signature={SECRET}",
    f"https://host/x?AWSAccessKeyId={SECRET}&Expires=1&Signature=x",
    f"https://host/x#access_token={SECRET}",
    f"https://host/x;token={SECRET}",
    f"https://host/x?api_key={SECRET}",
    f"s3://bucket/x?endpoint_override=http%3A%2F%2Fme%3A{SECRET}%40store",
    f"jdbc:postgresql://host/db?user=me&password={SECRET}",
)
"""Addresses that are refused where one is kept."""
SHOWN_WITHOUT = (
    *KEPT_OUT,
    f"https://host/hook?{SECRET}",
    f"https://host/x?unheard-of={SECRET}",
    f"https:/me:{SECRET}@host",
    f"me:{SECRET}@host:5432/db",
    f"//me:{SECRET}@host",
    f"host=db user=me password={SECRET}",
    f"host=db user=me password='{SECRET} x'",
    f"AccountName=me;AccountKey={SECRET}==;EndpointSuffix=x",
    f'{{"client_secret": "{SECRET}"}}',
    f"Authorization: Bearer {SECRET}",
    f"Authorization: Basic {SECRET}==",
    f"MLFLOW_TRACKING_PASSWORD={SECRET}",
    f"--token={SECRET}",
    f"Max retries exceeded with url: /x?sig={SECRET} (Caused by",
)
HARMLESS = (
    "http://localhost:5000",
    "sqlite:////home/me@work/mlflow.db",
    "s3://bucket/a@b?region=eu-west-1&endpoint_override=localhost:9000",
    "file:///home/me@work",
    "registered as models:/name@best (version 1); serve it: MLFLOW_TRACKING_URI=http://host:5000 mlflow models serve "
    "-m models:/name@best",
    "http://127.0.0.1:5000/#/experiments/1/runs?viewStateShareKey=sweep&workflowType=machine_learning",
    "export RAY_AUTH_MODE=token, and the token itself",
    "gs://bucket/weights.pt#name=a&sha256=b",
    "python -m sweep.run --space quickstart --set temperature=0.1,0.5",
)


@pytest.mark.parametrize("address", SHOWN_WITHOUT)
@pytest.mark.parametrize("sentence", ["{}", "tracking URI {!r} (from there): can't be used", "({}): {}, and more"])
def test_no_spelling_of_a_secret_is_shown(address: str, sentence: str) -> None:
    text = sentence.format(address, address)
    assert SECRET in text
    shown = redact(text)
    assert SECRET not in shown
    assert redact(shown) == shown
    assert SECRET not in str(BadInputError(text))


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_is_shown_as_it_is(text: str) -> None:
    assert redact(text) == text
    assert " " in text or not secret_part(text)


@pytest.mark.parametrize("address", KEPT_OUT)
def test_an_address_with_a_secret_is_refused_where_it_would_be_kept(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainables.data.store_addresses import remote_root

    monkeypatch.setenv("SWEEP_DATA", address)
    for keep in (lambda: Storage.at(address), lambda: InitialWeights.parse(address), remote_root):
        with pytest.raises(BadInputError, match="credentials belong in") as refused:
            keep()
        assert SECRET not in str(refused.value)


def test_a_librarys_message_that_spells_the_address_otherwise_has_no_secret() -> None:
    address = "postgresql://me:a%2Fb-pl4nted@host/db"
    for spelled in ("a%2Fb-pl4nted", "a/b-pl4nted"):
        assert redact(f"password {spelled!r} of me is wrong", address) == "password '***' of me is wrong"


@pytest.mark.parametrize("spelled", [f"https://me:{SECRET}/w@127.0.0.1:9/x", f"nothing://host/db?password={SECRET}"])
def test_a_tracking_address_is_shown_without_its_secret(spelled: str, tmp_path: Path) -> None:
    from sweep.tracking.store import TrackingStore

    store = TrackingStore.choose(spelled, storage=tmp_path, experiment="sweep")
    with pytest.raises(BadInputError, match="tracking URI") as refused:
        store.connect()
    whole, error = "", refused.value
    while error is not None:  # what a traceback would show
        whole, error = f"{whole}{error}", error.__cause__  # type: ignore[assignment]
    assert SECRET not in whole
    assert SECRET not in store.shown


def test_a_servers_command_line_has_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    from sweep.tracking import server as module
    from sweep.tracking.store import TrackingStore

    uri, seen = f"postgresql://me:{SECRET}@127.0.0.1:9/db", {}

    def popen(command: list[str], **options: Any) -> None:
        seen.update(options, command=command)
        raise InterruptedError

    monkeypatch.setattr(module.subprocess, "Popen", popen)
    with (
        pytest.raises(InterruptedError),
        module.TrackingServer(TrackingStore(uri, "typed", "sweep", f"s3://bucket/{SECRET}")),
    ):
        pass
    assert not [word for word in seen["command"] if SECRET in word]
    assert uri in seen["env"].values()


def test_the_clusters_programs_get_addresses_by_the_environment(tmp_path: Path) -> None:
    """A stand-in for each program writes down its command line."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("mlflow", "pg_dump", "psql"):
        (bin_ / name).write_text('#!/bin/sh\necho "$0 $*" >> "$SEEN"\nenv >> "$SEEN.env"\n')
        (bin_ / name).chmod(0o755)
    home = tmp_path / "home"
    for folder in (".sweep-secrets", ".sweep-head"):
        (home / folder).mkdir(parents=True)
    (home / ".sweep-secrets/env").touch()
    store = f"postgresql+psycopg2://me:{SECRET}@db/mlflow"
    variables = f"MLFLOW_STORE={store}\nMLFLOW_ARTIFACTS=s3://bucket\nMLFLOW_BACKUP={tmp_path / 'backup'}\n"
    (home / ".sweep-head/env").write_text(variables)
    environment = {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{bin_}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SEEN": str(tmp_path / "seen"),
    }
    environment |= dict(line.split("=", 1) for line in variables.splitlines())
    (tmp_path / "backup").mkdir()
    service = str(ROOT / "deploy/cluster/mlflow_service.sh")
    subprocess.run([service, "serve"], env=environment, cwd=tmp_path, check=False, timeout=60)
    backup = str(ROOT / "deploy/cluster/mlflow_backup.py")
    subprocess.run([sys.executable, backup, "save"], env=environment, check=False, timeout=60, capture_output=True)
    seen = (tmp_path / "seen").read_text()
    assert "mlflow server" in seen
    assert "psql" in seen
    assert SECRET not in seen
    assert f"MLFLOW_BACKEND_STORE_URI={store}" in (tmp_path / "seen.env").read_text()
    assert f"PGPASSWORD={SECRET}" in (tmp_path / "seen.env").read_text()


def test_a_signed_link_is_not_kept_beside_a_download(tmp_path: Path) -> None:
    link = f"https://host/archive.zip?X-Amz-Signature={SECRET}"
    file = PartialFile(tmp_path / "archive.zip", RemoteFile(link, None, None))
    file.start(RemoteVersion.of(link, {"ETag": '"a"', "Content-Length": "6"}))
    file.take(iter([b"abc"]), lambda done, total: None)
    assert not [path for path in tmp_path.iterdir() if SECRET.encode() in path.read_bytes()]
    again = PartialFile(tmp_path / "archive.zip", RemoteFile(link.replace(SECRET, "signed-anew"), None, None))
    assert again.count == 3


def test_an_uncaught_error_shows_no_secret(tmp_path: Path) -> None:
    code = (
        "import typer\nfrom sweep.console.app import run_app\napp = typer.Typer(pretty_exceptions_enable=False)\n"
        f"@app.command()\ndef main():\n    raise OSError('no answer from https://me:{SECRET}'"
        " '@host')\n"
        "run_app(app)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "OSError: no answer from https://***@host" in done.stderr
    assert SECRET not in done.stderr.splitlines()[-1]


# --on-end


class Receiver(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.seen.append((self.command, self.path, body))
                if self.path.startswith("/slow"):
                    for _ in range(40):
                        self.wfile.write(b"H")
                        time.sleep(0.1)
                    return
                status = int(self.path.split("/")[1])
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{receiver.server_port}/200/taken")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                self.do_POST()

            def log_message(self, *_: Any) -> None:
                pass

            def handle(self) -> None:
                with contextlib.suppress(OSError):  # who posted has gone
                    super().handle()

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_webhook_is_delivered_once_and_by_post(receiver: Receiver) -> None:
    from sweep.running.end_hook import send

    assert send(f"HTTP://127.0.0.1:{receiver.server_port}/200/{SECRET}", {"sweep": "a"}) == ""
    assert receiver.seen == [("POST", f"/200/{SECRET}", b'{"sweep": "a"}')]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Receiver, status: int) -> None:
    from sweep.running.end_hook import send

    fault = send(f"http://127.0.0.1:{receiver.server_port}/{status}/{SECRET}", {})
    assert f"redirect (HTTP {status}), which isn't followed" in fault
    assert SECRET not in fault
    assert len(receiver.seen) == 1


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/500/{secret}",
        "http://127.0.0.1:{port}/404?token={secret}",
        "http://127.0.0.1:9/{secret}",
        "http://me:p/{secret}@127.0.0.1:{port}/200",
        "http://me:{secret}@[nowhere/x",
        "https://127.0.0.1:{port}/{secret}",
        "http://{secret}..x:99999999/",
        "exit 3 # {secret}",
        "echo {secret} >&2; exit 1",
        "/no/such/{secret}",
        "kill -9 $$ # {secret}",
    ],
)
def test_a_failure_is_said_without_the_secret(receiver: Receiver, target: str) -> None:
    from sweep.running.end_hook import send

    fault = send(target.format(port=receiver.server_port, secret=SECRET), {})
    assert fault.startswith("--on-end: the summary wasn't delivered: the ")
    assert SECRET not in fault
    assert "\n" not in fault


def test_the_time_limit_holds_for_a_server_that_sends_a_byte_now_and_then(receiver: Receiver) -> None:
    from sweep.running.end_hook import send

    began = time.monotonic()
    assert "within 0.5 s" in send(f"http://127.0.0.1:{receiver.server_port}/slow", {}, timeout=0.5)
    assert time.monotonic() - began < 2.0


def processes_with(word: str) -> list[int]:
    found = []
    for process in psutil.process_iter(["pid", "cmdline", "status"]):
        if word in " ".join(process.info["cmdline"] or ()) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process.info["pid"])
    return found


@pytest.mark.parametrize(
    ("command", "limit"),
    [
        ("sleep {mark} & sleep {mark}", 0.3),
        ("trap '' TERM; sleep {mark} & while :; do sleep {mark}; done", 0.3),
        ("sleep {mark} & exit 0", 20.0),
    ],
)
def test_nothing_that_the_command_starts_outlives_it(
    command: str, limit: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sweep.running import end_hook

    monkeypatch.setattr(end_hook, "PAUSE_SECONDS", 0.3)
    mark = f"300.{os.getpid()}{time.monotonic_ns() % 10**9}"
    fault = end_hook.send(command.format(mark=mark), {}, timeout=limit)
    assert ("was ended after 0.3 s" in fault) == (limit == 0.3)
    deadline = time.monotonic() + 5
    while processes_with(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(mark) == []


def test_a_large_summary_reaches_a_command_that_reads_late_or_never(tmp_path: Path) -> None:
    from sweep.running.end_hook import send

    summary = {"failures": ["x" * 1000] * 1000}
    assert send(f"sleep 0.2; cat > {tmp_path}/got", summary) == ""
    assert json.loads((tmp_path / "got").read_text()) == summary
    assert send("exit 0", summary) == ""


def test_what_became_of_the_delivery_is_kept_without_the_secret(tmp_path: Path) -> None:
    from sweep.records.end_report import end_report, write_end_report
    from sweep.records.sweep_storage import SweepStorage
    from sweep.running.end_hook import send

    storage = SweepStorage(tmp_path)
    assert end_report(storage, "mine") is None
    write_end_report(storage, "mine", send(f"exit 3 # {SECRET}", {}))
    kept = end_report(storage, "mine")
    assert kept is not None
    assert kept.fault == "--on-end: the summary wasn't delivered: the command's exit code is 3"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    (tmp_path / "sweeps/mine/on_end.json").write_bytes(b"\xff{")
    assert end_report(storage, "mine") is None


def test_a_run_says_nothing_of_its_hook_in_a_traceback() -> None:
    from sweep.running.run_location import RunLocation

    assert SECRET not in repr(RunLocation("storage", on_end=f"https://host/{SECRET}"))
