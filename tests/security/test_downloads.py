"""What is downloaded came over a way that nobody could change, or is what its checksum says."""

import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from trainables.data.dataset_facts import KNOWN
from trainables.data.preparing.download import download
from trainables.data.preparing.partial_file import RemoteFile
from trainables.errors import BadInputError

CONTENT = b"an archive" * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Leads elsewhere where the path says so, else serves CONTENT."""

    def do_GET(self) -> None:
        self.server.paths.append(self.path)  # type: ignore[attr-defined]
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def certificate(folder: Path) -> Path:
    """Write a certificate of 127.0.0.1 with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path = folder / "own.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM) + key.private_bytes(serialization.Encoding.PEM, *plain)
    )
    return path


class Servers:
    """An https and an http server of this machine, and what was asked of either."""

    def __init__(self, own: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(own)
        self.secure, self.plain = (ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2))
        self.secure.socket = context.wrap_socket(self.secure.socket, server_side=True)
        for server in (self.secure, self.plain):
            server.paths = []  # type: ignore[attr-defined]
        self.https = f"https://127.0.0.1:{self.secure.server_address[1]}"
        self.http = f"http://127.0.0.1:{self.plain.server_address[1]}"


@pytest.fixture
def servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    own = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(own))
    started = Servers(own)
    threads = [
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        for server in (started.secure, started.plain)
    ]
    for thread in threads:
        thread.start()
    yield started
    for server, thread in zip((started.secure, started.plain), threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("md5", [None, MD5])
@pytest.mark.parametrize("hops", [1, 2])
def test_no_redirection_leads_from_https_to_http(hops: int, md5: str | None, servers: Servers, tmp_path: Path) -> None:
    target = f"{servers.http}/file.zip"
    for _ in range(hops):
        target = f"{servers.https}/to/{target}"
    with pytest.raises(BadInputError, match="leads from https to http://") as caught:
        download(RemoteFile(target, None, md5), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert servers.plain.paths == []  # type: ignore[attr-defined]
    assert not [path for path in (tmp_path / "out").iterdir() if path.name == "file.zip"]


def test_https_may_lead_to_https_and_http_to_https(servers: Servers, tmp_path: Path) -> None:
    for number, first in enumerate((servers.https, servers.http)):
        url = f"{first}/to/{servers.https}/file.zip"
        assert download(RemoteFile(url, None, MD5), tmp_path / str(number)).read_bytes() == CONTENT


def test_plain_http_needs_a_checksum(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"http://data\.example/file\.zip: http, and no checksum is known"):
        download(RemoteFile("http://data.example/file.zip", None, None), tmp_path)


def test_every_published_file_has_its_checksum() -> None:
    files = [published for facts in KNOWN.values() for published in (facts.archive, *facts.lists) if published]
    assert len(files) > 10
    for published in files:
        assert published.md5 is not None, published.url
        assert len(bytes.fromhex(published.md5)) == 16, published.url
