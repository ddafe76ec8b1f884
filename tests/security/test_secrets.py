"""Secrets of addresses: shown, logged and kept nowhere."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

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
