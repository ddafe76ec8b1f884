"""A Kubernetes API on the loopback address that has one resource, and shows it to whoever has the right certificate."""

import contextlib
import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class KubernetesApi:
    """Answers GET of each address of `resources` with its document, 403 of others, as without a role."""

    def __init__(self, port: int, certificate: Path, key: Path) -> None:
        self.port, self.certificate, self.key = port, certificate, key
        self.resources: dict[str, Any] = {}
        self.asked: list[tuple[str, str]] = []
        """Each request's path, and its header Authorization."""

    def environment(self) -> dict[str, str]:
        """Return what a pod has of it; the certificate stands for a service account, whose path can't be chosen."""
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT_HTTPS": str(self.port),
            "RAY_KUBERAY_CLIENT_CERT_PATH": str(self.certificate),
            "RAY_KUBERAY_CLIENT_KEY_PATH": str(self.key),
            "RAY_KUBERAY_CA_CERT_PATH": str(self.certificate),
        }


@contextlib.contextmanager
def kubernetes_api(folder: Path) -> Iterator[KubernetesApi]:
    """Serve it until the end of the block; its certificate is made in the folder."""
    certificate, key = folder / "api.crt", folder / "api.key"
    words = "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=api -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *words.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_OPTIONAL

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            api.asked.append((self.path, self.headers.get("Authorization", "")))
            document = api.resources.get(self.path)
            self.send_response(403 if document is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(document or {"reason": "Forbidden"}).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    api = KubernetesApi(server.server_port, certificate, key)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
