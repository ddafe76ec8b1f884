"""Downloads from a server of our own: interrupted, moved, broken, refused, and through a proxy."""

import fcntl
import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.sample_data import pack_zip, write_eurosat

from sweep.data import main
from trainables.data.dataset_facts import KNOWN, PublishedFile
from trainables.data.preparing import download as downloading
from trainables.data.preparing.download import RemoteFile, download
from trainables.data.preparing.prepare import prepare
from trainables.errors import BadInputError

CONTENT = np.random.default_rng(0).bytes(3 * 2**20 + 77)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves `content` and does to each request what `plan` says next: ok, cut, gzip, whole, a status, to ADDRESS."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.etag = CONTENT, '"one"'
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.paths: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/data/file.zip"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        server.paths.append(self.path)
        what = server.plan.pop(0) if server.plan else "ok"
        if what.isdigit():
            self.send_error(int(what))
            return
        if what.startswith("to "):
            self.send_response(302)
            self.send_header("Location", what.removeprefix("to "))
            self.end_headers()
            return
        content, wanted = server.content, self.headers.get("Range")
        first = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        fresh = self.headers.get("If-Range") not in (None, server.etag)
        if first and first >= len(content) and not fresh:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.end_headers()
            return
        if first and not fresh and what != "whole":
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        else:
            first = 0
            self.send_response(200)
        if what == "gzip":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("ETag", server.etag)
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        part = content[first:]
        self.wfile.write(part[: len(part) // 2] if what == "cut" else part)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(downloading, "BACK_OFF_SECONDS", 0.0)
    with Server() as started:
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield started
        started.shutdown()
        thread.join()


def first_byte(asked: str | None) -> int:
    return 0 if asked is None else int(asked.removeprefix("bytes=").rstrip("-"))


def test_a_file_comes_whole_once(server: Server, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    remote = RemoteFile(server.url, len(CONTENT), MD5)
    path = download(remote, tmp_path, progress=lambda *both: told.append(both))
    assert path == tmp_path / "file.zip"
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert download(remote, tmp_path) == path
    assert len(server.ranges) == 1


def test_a_connection_that_ends_early_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.plan = ["cut", "cut"]
    assert download(RemoteFile(server.url, None, MD5), tmp_path).read_bytes() == CONTENT
    starts = [first_byte(asked) for asked in server.ranges]
    assert starts[0] == 0
    assert 0 < starts[1] < starts[2] < len(CONTENT)


def test_an_interrupted_run_goes_on_in_the_next(server: Server, tmp_path: Path) -> None:
    def interrupt(done: int, total: int | None) -> None:
        if done > 2**20:
            raise KeyboardInterrupt

    remote = RemoteFile(server.url, len(CONTENT), MD5)
    with pytest.raises(KeyboardInterrupt):
        download(remote, tmp_path, progress=interrupt)
    assert not (tmp_path / "file.zip").exists()
    assert download(remote, tmp_path).read_bytes() == CONTENT
    assert first_byte(server.ranges[-1]) > 2**20


@pytest.mark.parametrize("change", ["range ignored", "another file"])
def test_where_a_server_cant_go_on_it_starts_again(change: str, server: Server, tmp_path: Path) -> None:
    server.plan = ["cut"]
    with pytest.raises(BadInputError):
        download(RemoteFile(server.url, None, None), tmp_path, attempts=1)
    if change == "range ignored":
        server.plan = ["whole"]
    else:
        server.content, server.etag = CONTENT[::-1], '"two"'
    assert download(RemoteFile(server.url, None, None), tmp_path).read_bytes() == server.content


def test_what_isnt_as_published_is_thrown_away(server: Server, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"file\.zip.*MD5.*--url"):
        download(RemoteFile(server.url, None, "0" * 32), tmp_path)
    with pytest.raises(BadInputError, match=r"file\.zip"):
        download(RemoteFile(server.url, 5, None), tmp_path)
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".zip", ".part")]
    assert download(RemoteFile(server.url, len(CONTENT), MD5), tmp_path).is_file()


def test_passing_faults_are_tried_again_and_lasting_ones_not(server: Server, tmp_path: Path) -> None:
    server.plan = ["503", "429", "500"]
    assert download(RemoteFile(server.url, None, MD5), tmp_path).is_file()
    assert len(server.ranges) == 4
    server.plan = ["404"]
    with pytest.raises(BadInputError, match="404"):
        download(RemoteFile(server.url.replace("file", "other"), None, None), tmp_path)
    assert len(server.ranges) == 5
    server.plan = ["503"] * 9
    with pytest.raises(BadInputError, match="503"):
        download(RemoteFile(server.url.replace("file", "third"), None, None), tmp_path, attempts=3)
    assert len(server.ranges) == 8


def test_bytes_are_those_that_were_sent_and_redirections_stay_on_http(server: Server, tmp_path: Path) -> None:
    server.plan = ["gzip"]  # what a server says of an archive that is packed once
    assert download(RemoteFile(server.url, None, MD5), tmp_path).read_bytes() == CONTENT
    moved = server.url.replace("file", "moved")
    server.plan = [f"to {server.url}"]
    assert download(RemoteFile(moved, None, MD5), tmp_path).read_bytes() == CONTENT
    for elsewhere in (Path(__file__).as_uri(), "ftp://x/y.zip"):
        server.plan = [f"to {elsewhere}"]
        with pytest.raises(BadInputError, match=elsewhere):
            download(RemoteFile(server.url.replace("file", "other"), None, None), tmp_path)


def test_a_file_url_is_copied_and_verified(tmp_path: Path) -> None:
    published = tmp_path / "file.zip"
    published.write_bytes(CONTENT)
    assert download(RemoteFile(published.as_uri(), len(CONTENT), MD5), tmp_path / "out").read_bytes() == CONTENT
    with pytest.raises(BadInputError, match="expected MD5"):
        download(RemoteFile(published.as_uri(), None, "0" * 32), tmp_path / "other")


def test_a_proxy_is_honoured(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.delenv("no_proxy", raising=False)
    download(RemoteFile("http://data.example/x/file.zip", None, MD5), tmp_path)
    assert server.paths == ["http://data.example/x/file.zip"]


def test_two_at_once_a_full_disk_and_bad_addresses(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for url in ("ftp://x/y.zip", "nonsense", "http://", "file:///nowhere/y.zip", "http://127.0.0.1:1/y.zip"):
        with pytest.raises(BadInputError) as caught:
            download(RemoteFile(url, None, None), tmp_path, attempts=1)
        assert url in str(caught.value)
        assert "\n" not in str(caught.value)

    class Usage:
        free = 1000

    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: Usage)
        with pytest.raises(BadInputError, match="free"):
            download(RemoteFile(server.url, len(CONTENT), MD5), tmp_path)
    lock = next(path for path in tmp_path.iterdir() if "file.zip" in path.name and "lock" in path.name)
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BadInputError, match="another process"):
            download(RemoteFile(server.url, None, MD5), tmp_path)


def test_prepare_downloads_what_is_published(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = pack_zip(write_eurosat(tmp_path / "in", images=12), tmp_path / "EuroSAT.zip")
    server.content = archive.read_bytes()
    url = server.url.replace("file.zip", "EuroSAT.zip")
    checked = PublishedFile(url, len(server.content), hashlib.md5(server.content).hexdigest())
    monkeypatch.setitem(vars(KNOWN["eurosat"]), "archive", checked)
    server.plan = ["cut"]
    info = prepare("eurosat", root=tmp_path / "out")
    assert info.images == 120
    assert len(server.ranges) == 2
    prepare("eurosat", root=tmp_path / "out", fraction=0.5, store_name="half")
    assert len(server.ranges) == 2  # the archive is there
    with pytest.raises(SystemExit) as caught:
        main(["prepare", "eurosat", "--url", url.replace("EuroSAT", "mirror"), "--root", str(tmp_path / "b")])
    assert caught.value.code == 0
    assert "eurosat: prepared, 120 images" in capsys.readouterr().out
    assert server.paths[-1] == "/data/mirror.zip"
