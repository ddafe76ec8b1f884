"""The report in a browser: what others wrote runs nothing and asks for nothing, and the charts are drawn."""

import html
import http.server
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweep.comparison.dataset_report import dataset_reports
from sweep.report.linked_pages import write_page

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium here: apt-get install chromium"),
]


class Attacker(http.server.ThreadingHTTPServer):
    """A server that counts who asks it for anything."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        attacker = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                attacker.asked.append(self.path)
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    def payloads(self) -> list[str]:
        """Return markup that runs a script or asks the server, each under its own path."""
        place, owned = f"http://127.0.0.1:{self.server_port}", "document.title='owned'"
        return [
            f"</script><script>{owned};fetch('{place}/fetch')</script>",
            f'"><img src="{place}/img" onerror="{owned}">',
            f"<svg onload=\"{owned}\"><image href='{place}/image'/></svg>",
            f"<link rel=stylesheet href='{place}/css'><style>@import url('{place}/import');</style>",
            f"<iframe src='{place}/frame'></iframe><object data='{place}/object'></object>",
            f"<p style=\"background:url('{place}/background')\">x</p>",
            f"<video autoplay src='{place}/video'></video><body onpageshow=\"{owned}\">",
            f"<base href='{place}/'><script src='{place}/script'></script>",
        ]


@pytest.fixture
def attacker() -> Iterator[Attacker]:
    with Attacker() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def page(hostile: SimpleNamespace, attacker: Attacker, tmp_path: Path) -> Path:
    """The page of a sweep whose every text is hostile."""
    every = "\n".join(attacker.payloads())
    fields = {"description": every, "caveats": tuple(attacker.payloads()), "published_source": every, "commit": every}
    record = hostile.record.model_copy(update=fields)
    return write_page(dataset_reports(record, hostile.storage), hostile.storage, tmp_path / "page")


def opened(page: Path, folder: Path) -> tuple[str, str]:
    """Return the document after its scripts ran, and what the browser logged."""
    assert BROWSER is not None
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    command += ["--disable-component-update", "--no-first-run", "--disable-dev-shm-usage", "--enable-logging=stderr"]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=10000", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    return done.stdout, done.stderr


def test_hostile_texts_run_nothing_and_the_charts_are_drawn(page: Path, attacker: Attacker, tmp_path: Path) -> None:
    document, log = opened(page, tmp_path)
    assert "<title>mine: comparison</title>" in document
    assert attacker.asked == []
    assert "Content Security Policy" not in log, "the page itself needs nothing that it forbids"
    assert document.count('class="main-svg"') >= 1, "Plotly draws under the policy"
    assert html.escape(attacker.payloads()[1], quote=False).split("src=")[0] in document


def test_the_policy_alone_keeps_markup_that_got_through_from_acting(
    page: Path, attacker: Attacker, tmp_path: Path
) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.count("<body>") == 1 or "<body>" in text
    head, body = text[: text.rindex("<body>")], text[text.rindex("<body>") + len("<body>") :]
    page.write_text(f"{head}<body>{''.join(attacker.payloads())}{body}", encoding="utf-8")
    document, log = opened(page, tmp_path)
    assert "Content Security Policy" in log, "the markup is tried"
    assert "<title>mine: comparison</title>" in document
    assert attacker.asked == []


def test_the_attack_works_where_nothing_keeps_it(page: Path, attacker: Attacker, tmp_path: Path) -> None:
    """The other tests would see it."""
    bare = tmp_path / "bare.html"
    bare.write_text(f"<html><head><title>x</title></head><body>{''.join(attacker.payloads())}</body></html>")
    document, _ = opened(bare, tmp_path)
    assert "<title>owned</title>" in document
    assert "/img" in attacker.asked
