"""A server of this machine in a process of its own that writes down what is asked of it.

Of its own, as GDAL waits for an answer without letting other threads of its process run.
"""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        with Path(sys.argv[1]).open("a") as log:
            log.write(f"{self.path}\n")
        self.send_error(404)

    do_HEAD = do_POST = do_GET  # noqa: N815

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Counter:
    """The server's address, and the paths that were asked for."""

    def __init__(self, url: str, log: Path) -> None:
        self.url, self._log = url, log

    def requests(self) -> list[str]:
        """Return the paths of all requests so far."""
        return self._log.read_text().split() if self._log.exists() else []


@contextmanager
def request_counter(log: Path) -> Iterator[Counter]:
    """Give a running server; it ends with the block."""
    with subprocess.Popen([sys.executable, __file__, str(log)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Counter(f"http://127.0.0.1:{process.stdout.readline().strip()}", log)
        finally:
            process.kill()


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()
