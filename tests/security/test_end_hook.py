"""Delivery of the summary to --on-end: once, within its time, and without a word of its secrets."""

import contextlib
import http.server
import json
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SECRET = "pl4nted-s3cret"


class Receiver(http.server.ThreadingHTTPServer):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, bytes]] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                receiver.seen.append((self.command, self.path, body))
                if self.path.startswith("/slow"):
                    for _ in range(100):
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
    assert time.monotonic() - began < 8.0, "not the ten seconds that it sends for"


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
