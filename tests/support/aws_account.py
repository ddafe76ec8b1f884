"""A local stand-in for AWS: moto's server, and what moto lacks, quotas, prices and the images' public parameter."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.ports import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-west-2"}
"""Credentials that the server takes."""


@contextmanager
def moto_server(folder: Path, host: str = "127.0.0.1") -> Iterator[str]:
    """Serve AWS's API in a process of its own, with its log in a folder; yield its address."""
    import requests

    port, log = free_port(), folder / "moto.log"
    command = [sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
    with log.open("w") as stream:
        server = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, **KEYS})
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                requests.get(f"http://{host}:{port}/moto-api/", timeout=5)
                break
            except requests.ConnectionError:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        yield f"http://{host}:{port}"
    finally:
        server.kill()
        server.wait()


class JsonServices:
    """Answers of AWS's services that speak JSON, by their operations: content, or an error's code.

    An answer may be a function of the request's content.
    """

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.address = ""

    def reply(self, operation: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Return the status and content of an answer."""
        self.asked.append((operation, content))
        answer = self.answers.get(operation, "AccessDeniedException")
        answer = answer(content) if callable(answer) else answer
        return (400, {"__type": answer, "message": "no"}) if isinstance(answer, str) else (200, answer)


@contextmanager
def json_services() -> Iterator[JsonServices]:
    """Serve answers that a test sets."""
    services = JsonServices()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
            status, answer = services.reply(self.headers["X-Amz-Target"].rpartition(".")[2], content)
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    services.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield services
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def price_list(dollars: float) -> dict[str, Any]:
    """Return the price list's answer for a machine, as AWS sends it, cut to what names the price."""
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": f"{dollars:.10f}"}, "description": "per On Demand Linux hour"}
    product = {
        "product": {"productFamily": "Compute Instance", "sku": "T6"},
        "terms": {"OnDemand": {"T6.JRT": {"priceDimensions": {"T6.JRT.6YS": dimension}}}},
    }
    return {"FormatVersion": "aws_v1", "PriceList": [json.dumps(product)]}
