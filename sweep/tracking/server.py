"""MLflow server on this machine that shows the runs of a storage."""

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from sweep.records.paths import DEFAULT_STORAGE
from sweep.tracking import pages
from sweep.tracking.pages import HOST
from sweep.tracking.shared_view import LATEST, view_page, view_tag
from sweep.tracking.store import ENVIRONMENT, EXPERIMENT, TrackingStore
from trainables.errors import BadInputError
from trainables.printing.redaction import redact

START_SECONDS, STOP_SECONDS = 120.0, 10.0
MOST_OUTPUT = 10_000
"""Characters of the server's output that are read, from its end."""
LAST_LINES = 10
"""Lines of it that are shown if none is an error."""
ERROR = re.compile(r"[A-Za-z][\w.]*(?:Error|Exception)\b")
"""Beginning of the line of a traceback that has the error."""
LEAN = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **ENVIRONMENT}
"""Environment without MLflow's job runner, with which the server has 15 processes, some of which outlive it."""


class TrackingServer:
    """MLflow server over a store, in its own process group; a context manager that leaves no process behind."""

    def __init__(self, store: TrackingStore, port: int = 0, password: str = "") -> None:
        """Create the server; port 0 means a free one, and without a password every user of this machine has access."""
        self.store, self.port, self.password = store, port, password
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._alive: int | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in stop

    @property
    def url(self) -> str:
        """Return the address for a browser."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> "TrackingServer":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it answers; BadInputError with the end of its log if it doesn't."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW_TRACKING_")}
        listening = self._listen()
        held, self._alive = os.pipe()  # the other end closes when this process ends in any way
        try:
            # A separate session: Ctrl-C in a terminal reaches only this program, which then ends the whole group.
            self._process = subprocess.Popen(
                [sys.executable, "-m", pages.__name__],
                env={**environment, **LEAN, **self._settings(listening), pages.PARENT: str(held)},
                pass_fds=(listening, held),
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        finally:
            os.close(held)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = _cause(redact(self._output(), self.store.uri).splitlines())
                raise BadInputError(f"MLflow's server over {self.store.shown} did not start:", *said)
            time.sleep(0.2)

    def page(self) -> str:
        """Return the address of the latest sweep's trials, or of the front page if there are none yet."""
        query = f"api/2.0/mlflow/experiments/get-by-name?experiment_name={self.store.experiment}"
        try:
            with self._open(query, timeout=30.0) as answer:
                experiment = json.load(answer)["experiment"]
            number, tags = experiment["experiment_id"], {tag["key"] for tag in experiment.get("tags", ())}
        except (OSError, ValueError, KeyError):
            return self.url
        return f"{self.url}/{view_page(number, LATEST if view_tag(LATEST) in tags else '')}"

    def wait(self) -> int:
        """Wait until the server ends by itself; return its exit status."""
        return 0 if self._process is None else self._process.wait()

    def stop(self) -> None:
        """End the process group."""
        process, self._process = self._process, None
        if process is not None:
            self._signal(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            # Even if the server ended in time, since a worker may have outlived it.
            self._signal(process.pid, signal.SIGKILL)
            process.wait()
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None
        if self._socket is not None:
            self._socket.close()
        self._log.close()

    def _listen(self) -> int:
        """Bind the port before the server needs it, so that no other program can receive the password there."""
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((HOST, self.port))
        except OSError as error:
            raise BadInputError(
                f"--port {self.port}: can't be used: {error.strerror}; leave it out for a free one"
            ) from error
        self._socket.listen()
        self.port = int(self._socket.getsockname()[1])
        return self._socket.fileno()

    def _settings(self, listening: int) -> dict[str, str]:
        """Return the server's environment variables, which no other user can read."""
        artifacts = self.store.artifact_location or ""
        settings = {pages.SOCKET: str(listening), pages.STORE: self.store.uri, pages.ARTIFACTS: artifacts}
        return {**settings, pages.PASSWORD: self.password}

    def _answers(self) -> bool:
        try:
            with self._open("health", timeout=2.0) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _open(self, path: str, timeout: float) -> Any:
        headers = {"Authorization": pages.authorization(self.password)} if self.password else {}
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        return direct.open(urllib.request.Request(f"{self.url}/{path}", headers=headers), timeout=timeout)

    def _output(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")[-MOST_OUTPUT:]

    @staticmethod
    def _signal(group: int, number: int) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)


def _cause(output: list[str]) -> list[str]:
    """Return the last error of the server's output, which ends a traceback; without one, the last lines."""
    errors = [line for line in output if ERROR.match(line)]
    return errors[-1:] or output[-LAST_LINES:]


def served_store(tracking_uri: str | None, storage: Path | None, experiment: str = "") -> TrackingStore:
    """Return the store to serve; BadInputError if it is already a server, or its file doesn't exist."""
    store = TrackingStore.choose(tracking_uri, storage=storage or DEFAULT_STORAGE, experiment=experiment or EXPERIMENT)
    if store.is_server:
        raise BadInputError(f"tracking URI {store.shown!r} ({store.why}): is a server already; open it in a browser")
    if store.database is not None and not store.database.exists():
        raise BadInputError(f"no runs at {store.database} ({store.why}): run a sweep first, or name its --storage")
    with suppress(sqlite3.Error):  # a read-only database is served as it is
        store.follow_move()
    return store
